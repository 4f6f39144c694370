"""What librdkafka answers for the keys of keys.txt, read from its delivery reports: one file for each partitioner.

Usage: librdkafka.py BOOTSTRAP FOLDER. A line per key, a column for 1, 6, 12 and 100 partitions; `*` where the partition
changes although the key does not.
"""

import sys
import uuid

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

COUNTS = (1, 6, 12, 100)
PARTITIONERS = ("consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a", "fnv1a_random")
TRIES = 50


def read_keys(path):
    special = {"null": None, "empty": b""}
    with open(path, encoding="ascii") as lines:
        return [special[line] if line in special else bytes.fromhex(line) for line in lines.read().split()]


def partitions_of(bootstrap, topic, partitioner, keys):
    found = [set() for _ in keys]

    def delivered(error, message):
        assert error is None, error
        found[int(message.value())].add(message.partition())

    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": partitioner, "sticky.partitioning.linger.ms": 0})
    for number, key in enumerate(keys):
        # The first ones may go anywhere: whether they do, only many of them show.
        for _ in range(TRIES if not key else 2):
            producer.produce(topic, str(number), key, on_delivery=delivered)
        producer.poll(0)
    assert producer.flush(30) == 0
    return found


def main():
    bootstrap, folder = sys.argv[1:]
    keys = read_keys(f"{folder}/keys.txt")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    prefix = f"partitioners-{uuid.uuid4()}"
    topics = {count: f"{prefix}-{count}" for count in COUNTS}
    for made in admin.create_topics([NewTopic(name, count, 1) for count, name in topics.items()]).values():
        made.result(10)
    for partitioner in PARTITIONERS:
        columns = [partitions_of(bootstrap, topics[count], partitioner, keys) for count in COUNTS]
        with open(f"{folder}/librdkafka-{partitioner}.txt", "w", encoding="ascii") as table:
            for row in zip(*columns):
                anywhere = any(len(found) > 1 for found in row)
                print(*("*" if anywhere else found.pop() for found in row), file=table)


main()
