"""kafka-python against a cluster: topics, every codec, offsets, groups, transactions.

Usage: kafka-python.py BOOTSTRAP [WORD...], see stories.py. Its consumers know the classic group protocol only.
"""

from uuid import UUID

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, ProducerFencedError

from stories import CODECS, equal, run, until


def topics_are_made_described_grown_and_deleted(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 3)
    description = admin.describe_topics([name])[0]
    equal(sorted(partition["partition_index"] for partition in description["partitions"]), [0, 1, 2])
    equal(admin.describe_topics([UUID(description["topic_id"])])[0]["name"], name, "by its id")
    admin.create_partitions({name: 5})
    until("five partitions", lambda: len(admin.describe_topics([name])[0]["partitions"]) == 5)
    admin.delete_topics([name])
    until("the topic to go", lambda: name not in admin.list_topics())


def configs_are_described_and_altered(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 1, {"retention.ms": "123456"})

    def value():
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        return described["topic"][name]["retention.ms"]["value"]

    equal(value(), "123456")
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "654321"})])
    until("the new value", lambda: value() == "654321")


def the_cluster_is_described(bootstrap, name):
    cluster = admin_of(bootstrap).describe_cluster()
    equal(len(cluster["brokers"]), len(bootstrap.split(",")))
    assert cluster["cluster_id"], cluster


def every_codec_comes_back_equal(bootstrap, name):
    make_topic(admin_of(bootstrap), name, 4)
    sent = {}
    for codec in CODECS:
        producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec,
                                 linger_ms=5, enable_idempotence=codec != "none")
        for number in range(500):
            key, value = f"{codec}-{number}".encode(), f"{codec} {number} ".encode() + b"x" * (number % 300)
            sent[key] = (value, [("codec", codec.encode())], 1_700_000_000_000 + number)
            producer.send(name, value, key, sent[key][1], timestamp_ms=sent[key][2])
        producer.flush(20)
        producer.close()
    found = read_assigned(bootstrap, name, 4, len(sent))
    equal({r.key: (r.value, [tuple(header) for header in r.headers], r.timestamp) for r in found}, sent)


def offsets_are_found_by_time(bootstrap, name):
    make_topic(admin_of(bootstrap), name, 1)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for number in range(10):
        producer.send(name, b"%d" % number, timestamp_ms=1000 + number * 10)
    producer.flush(10)
    consumer, partition = KafkaConsumer(bootstrap_servers=bootstrap), TopicPartition(name, 0)
    equal(consumer.beginning_offsets([partition]), {partition: 0})
    equal(consumer.end_offsets([partition]), {partition: 10})
    equal(consumer.offsets_for_times({partition: 1045})[partition][:2], (5, 1050))
    consumer.close()


def records_are_deleted(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 1)
    produce(bootstrap, name, range(10))
    admin.delete_records({TopicPartition(name, 0): 4})
    equal([int(r.value) for r in read_assigned(bootstrap, name, 1, 6)], [4, 5, 6, 7, 8, 9])


def two_members_share_a_group(bootstrap, name):
    """One member has all, a second one joins and takes half, the first leaves, the second has all; then a third resumes."""
    admin = admin_of(bootstrap)
    make_topic(admin, name, 4)
    produce(bootstrap, name, range(400))
    first, second = member(bootstrap, name), member(bootstrap, name)
    seen, more = [], []
    until("the first member to read all", lambda: poll_into(first, seen) and len(seen) >= 400)
    equal(sorted(seen), list(range(400)))
    first.commit()

    def shared():
        poll_into(first, more), poll_into(second, more)
        return len(first.assignment()) == 2 and len(second.assignment()) == 2

    until("two partitions each", shared)
    until("a stable group of two", lambda: shared() and describe_group(admin, name) == ("Stable", 2))
    first.close(autocommit=False)
    until("all partitions for the one who stayed", lambda: poll_into(second, more) and len(second.assignment()) == 4)
    equal(more, [], "records twice although they were committed")
    produce(bootstrap, name, range(400, 500))
    until("what is new", lambda: poll_into(second, more) and len(more) >= 100)
    second.commit()
    second.close(autocommit=False)
    until("an empty group", lambda: describe_group(admin, name) == ("Empty", 0))
    third = member(bootstrap, name)
    equal(sum(third.committed(TopicPartition(name, partition)) for partition in range(4)), 500)
    third.close()


def group_offsets_are_listed_altered_and_groups_deleted(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 2)
    produce(bootstrap, name, range(20))
    wanted = {TopicPartition(name, 0): OffsetAndMetadata(3, "a note", -1), TopicPartition(name, 1): OffsetAndMetadata(4, "", -1)}
    admin.alter_group_offsets(name, wanted)
    listed = admin.list_group_offsets(name)[name]
    equal({partition: (it.offset, it.metadata) for partition, it in listed.items()},
          {partition: (it.offset, it.metadata) for partition, it in wanted.items()})
    assert name in [group["group_id"] for group in admin.list_groups()]
    admin.delete_group_offsets(name, [TopicPartition(name, 1)])
    equal(list(admin.list_group_offsets(name)[name]), [TopicPartition(name, 0)])
    admin.delete_groups([name])
    assert name not in [group["group_id"] for group in admin.list_groups()]


def committed_transactions_are_read_and_aborted_ones_are_not(bootstrap, name):
    make_topic(admin_of(bootstrap), name, 2)
    producer = transactional(bootstrap, name)
    for number in range(6):
        producer.begin_transaction()
        for part in range(10):
            producer.send(name, b"%d" % (number * 10 + part), partition=part % 2)
        producer.flush(10)
        producer.commit_transaction() if number % 2 else producer.abort_transaction()
    producer.close()
    committed = [number * 10 + part for number in (1, 3, 5) for part in range(10)]
    found = read_assigned(bootstrap, name, 2, 30)
    equal(sorted(int(r.value) for r in found), committed, "read_committed")
    equal(len(read_assigned(bootstrap, name, 2, 60, "read_uncommitted")), 60, "read_uncommitted")


def transactions_and_producers_are_described(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 1)
    producer, partition = transactional(bootstrap, name), TopicPartition(name, 0)
    producer.begin_transaction()
    producer.send(name, b"pending").get(10)
    description = admin.describe_transactions([name])[name]
    equal((description.state.name, description.topic_partitions), ("ONGOING", {partition}))
    listed = [listing for listings in admin.list_transactions().values() for listing in listings]
    equal([listing.state.name for listing in listed if listing.transactional_id == name], ["ONGOING"])
    [state] = admin.describe_producers([partition])[partition].active_producers
    equal((state.producer_id, state.current_transaction_start_offset), (description.producer_id, 0))
    producer.commit_transaction()
    until("its end", lambda: admin.describe_transactions([name])[name].state.name == "COMPLETE_COMMIT")
    producer.close()


def a_newer_producer_fences_the_older(bootstrap, name):
    make_topic(admin_of(bootstrap), name, 1)
    older = transactional(bootstrap, name)
    older.begin_transaction()
    older.send(name, b"1").get(10)
    newer = transactional(bootstrap, name)
    newer.begin_transaction()
    newer.send(name, b"2")
    newer.commit_transaction()
    try:
        older.commit_transaction()
        raise AssertionError("the older one could commit")
    except ProducerFencedError:
        pass
    except KafkaError as error:
        assert "fence" in str(error).lower() or "epoch" in str(error).lower(), error
    equal([int(r.value) for r in read_assigned(bootstrap, name, 1, 1)], [2])


def offsets_are_committed_with_a_transaction(bootstrap, name):
    source, target = f"{name}-source", f"{name}-target"
    admin = admin_of(bootstrap)
    make_topic(admin, source, 1), make_topic(admin, target, 1)
    produce(bootstrap, source, range(20))
    producer = transactional(bootstrap, name)
    consumer = subscribed(bootstrap, source, name)
    partition = TopicPartition(source, 0)
    for outcome in ("abort", "commit"):
        values = []
        until("twenty records", lambda: poll_into(consumer, values) and len(values) >= 20)
        producer.begin_transaction()
        for value in values:
            producer.send(target, b"%d" % value)
        position = OffsetAndMetadata(consumer.position(partition), "", -1)
        producer.send_offsets_to_transaction({partition: position}, consumer.group_metadata())
        if outcome == "abort":
            producer.abort_transaction()
            equal(consumer.committed(partition), None)
            consumer.seek(partition, 0)
        else:
            producer.commit_transaction()
            equal(consumer.committed(partition), 20)
    consumer.close()
    equal([int(r.value) for r in read_assigned(bootstrap, target, 1, 20)], list(range(20)))


def admin_of(bootstrap):
    return KafkaAdminClient(bootstrap_servers=bootstrap)


def make_topic(admin, name, partitions, configs=None):
    topic = {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}
    admin.create_topics({name: topic}, wait_for_metadata=True)


def produce(bootstrap, topic, numbers):
    producer = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    for number in numbers:
        producer.send(topic, b"%d" % number, b"%d" % number)
    producer.flush(20)
    producer.close()


def transactional(bootstrap, name):
    producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=name)
    producer.init_transactions()
    return producer


def read_assigned(bootstrap, topic, partitions, count, isolation="read_committed"):
    """So many records without a group; and a little longer, for records that should not be there."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level=isolation)
    consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
    found = []

    def more():
        for records in consumer.poll(timeout_ms=200).values():
            found.extend(records)
        return len(found) >= count

    until(f"{count} records of {topic}", more)
    more()
    consumer.close()
    return found


def member(bootstrap, group):
    return subscribed(bootstrap, group, group, session_timeout_ms=6000, heartbeat_interval_ms=300)


def subscribed(bootstrap, topic, group, **settings):
    """A member that knows the topic's partitions before it joins: a leader that learns of them while it assigns takes an
    assignment of none for the latest and stays without. A broker that holds a new group back for seconds hides that."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
                             enable_auto_commit=False, **settings)
    until(f"the partitions of {topic}", lambda: consumer.partitions_for_topic(topic))
    consumer.subscribe([topic])
    return consumer


def poll_into(consumer, values):
    for records in consumer.poll(timeout_ms=100).values():
        values.extend(int(record.value) for record in records)
    return True


def describe_group(admin, group):
    description = admin.describe_groups([group])[group]
    return description["group_state"], len(description["members"])


run("kafka-python", [
    topics_are_made_described_grown_and_deleted,
    configs_are_described_and_altered,
    the_cluster_is_described,
    every_codec_comes_back_equal,
    offsets_are_found_by_time,
    records_are_deleted,
    two_members_share_a_group,
    group_offsets_are_listed_altered_and_groups_deleted,
    committed_transactions_are_read_and_aborted_ones_are_not,
    transactions_and_producers_are_described,
    a_newer_producer_fences_the_older,
    offsets_are_committed_with_a_transaction,
])
