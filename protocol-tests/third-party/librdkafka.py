"""librdkafka, by confluent-kafka, against a cluster: topics, every codec, offsets, groups of both protocols, transactions.

Usage: librdkafka.py BOOTSTRAP [WORD...], see stories.py.
"""

from confluent_kafka import (
    OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, Producer,
    TopicCollection, TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

from stories import CODECS, equal, run, until


def topics_are_made_described_grown_and_deleted(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 3)
    equal(len(admin.list_topics(name, timeout=10).topics[name].partitions), 3)
    description = admin.describe_topics(TopicCollection([name]))[name].result(10)
    equal([partition.leader is not None for partition in description.partitions], [True] * 3)
    admin.create_partitions([NewPartitions(name, 5)])[name].result(10)
    until("five partitions", lambda: len(admin.list_topics(name, timeout=10).topics[name].partitions) == 5)
    admin.delete_topics([name])[name].result(10)
    until("the topic to go", lambda: name not in admin.list_topics(timeout=10).topics)


def configs_are_described_and_altered(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 1, {"retention.ms": "123456"})
    resource = ConfigResource(ResourceType.TOPIC, name)
    equal(admin.describe_configs([resource])[resource].result(10)["retention.ms"].value, "123456")
    change = ConfigEntry("retention.ms", "654321", incremental_operation=AlterConfigOpType.SET)
    altered = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[change])
    admin.incremental_alter_configs([altered])[altered].result(10)
    equal(admin.describe_configs([resource])[resource].result(10)["retention.ms"].value, "654321")


def the_cluster_is_described(bootstrap, name):
    admin = admin_of(bootstrap)
    cluster = admin.describe_cluster().result(10)
    equal(len(cluster.nodes), len(bootstrap.split(",")))
    assert cluster.cluster_id and cluster.controller is not None


def every_codec_comes_back_equal(bootstrap, name):
    make_topic(admin_of(bootstrap), name, 4)
    sent = {}
    for codec in CODECS:
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 5,
                             "enable.idempotence": codec != "none"})
        for number in range(500):
            key, value = f"{codec}-{number}", f"{codec} {number} " + "x" * (number % 300)
            sent[key.encode()] = (value.encode(), [("codec", codec.encode())], 1_700_000_000_000 + number)
            producer.produce(name, value, key, headers={"codec": codec}, timestamp=1_700_000_000_000 + number,
                             on_delivery=delivered)
            producer.poll(0)
        equal(producer.flush(20), 0, f"{codec}: undelivered")
    found = {m.key(): (m.value(), m.headers(), m.timestamp()[1]) for m in read_assigned(bootstrap, name, 4, len(sent))}
    equal(found, sent)


def an_empty_value_is_not_a_missing_one(bootstrap, name):
    make_topic(admin_of(bootstrap), name, 1)
    produce(bootstrap, name, [("a", b""), ("b", None)])
    equal([(m.key(), m.value()) for m in read_assigned(bootstrap, name, 1, 2)], [(b"a", b""), (b"b", None)])


def offsets_are_found_by_time(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 1)
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(10):
        producer.produce(name, str(number), timestamp=1000 + number * 10, on_delivery=delivered)
    equal(producer.flush(10), 0)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": name})
    equal(consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=10), (0, 10))
    found = consumer.offsets_for_times([TopicPartition(name, 0, 1045)], timeout=10)
    equal(found[0].offset, 5)
    consumer.close()
    specs = {"earliest": (OffsetSpec.earliest(), 0), "latest": (OffsetSpec.latest(), 10),
             "newest": (OffsetSpec.max_timestamp(), 9), "by time": (OffsetSpec.for_timestamp(1021), 3)}
    for what, (spec, expected) in specs.items():
        partition = TopicPartition(name, 0)
        equal(admin.list_offsets({partition: spec})[partition].result(10).offset, expected, what)


def records_are_deleted(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 1)
    produce(bootstrap, name, [(None, str(number)) for number in range(10)])
    partition = TopicPartition(name, 0, 4)
    equal(admin.delete_records([partition])[partition].result(10).low_watermark, 4)
    equal([int(m.value()) for m in read_assigned(bootstrap, name, 1, 6)], [4, 5, 6, 7, 8, 9])


def two_members_share_a_classic_group(bootstrap, name):
    two_members_share(bootstrap, name, {"group.protocol": "classic", "partition.assignment.strategy": "range",
                                        "session.timeout.ms": 6000, "heartbeat.interval.ms": 300})


def two_members_share_a_cooperative_group(bootstrap, name):
    two_members_share(bootstrap, name, {"group.protocol": "classic",
                                        "partition.assignment.strategy": "cooperative-sticky",
                                        "session.timeout.ms": 6000, "heartbeat.interval.ms": 300})


def two_members_share_a_consumer_group(bootstrap, name):  # KIP-848
    two_members_share(bootstrap, name, {"group.protocol": "consumer"})


def two_members_share(bootstrap, name, protocol):
    """One member has all, a second one joins and takes half, the first leaves, the second has all; then a third resumes."""
    admin = admin_of(bootstrap)
    make_topic(admin, name, 4)
    produce(bootstrap, name, [(str(number), str(number)) for number in range(400)])
    first, second = member(bootstrap, name, protocol), member(bootstrap, name, protocol)
    first.subscribe([name])
    seen = []
    until("the first member to read all", lambda: poll_into(first, seen) and len(seen) >= 400)
    equal(sorted(int(value) for value in seen), list(range(400)))
    first.commit(asynchronous=False)
    second.subscribe([name])
    more = []

    def shared():
        poll_into(first, more), poll_into(second, more)
        return len(first.assignment()) == 2 and len(second.assignment()) == 2

    until("two partitions each", shared)
    equal(describe_group(admin, name), ("STABLE", 2))
    first.close()
    until("all partitions for the one who stayed", lambda: poll_into(second, more) and len(second.assignment()) == 4)
    equal(more, [], "records twice although they were committed")
    produce(bootstrap, name, [(str(number), str(number)) for number in range(400, 500)])
    until("what is new", lambda: poll_into(second, more) and len(more) >= 100)
    second.commit(asynchronous=False)
    second.close()
    until("an empty group", lambda: describe_group(admin, name) == ("EMPTY", 0))
    third = member(bootstrap, name, protocol)
    committed = third.committed([TopicPartition(name, partition) for partition in range(4)], timeout=10)
    equal(sum(partition.offset for partition in committed), 500)
    third.close()


def a_group_by_regular_expression_sees_new_topics(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, f"{name}.a", 1)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": name, "auto.offset.reset": "earliest",
                         "topic.metadata.refresh.interval.ms": 500})
    consumer.subscribe([f"^{name}\\..*"])
    until("the topic that was there", lambda: poll_into(consumer, []) and topics_of(consumer) == {f"{name}.a"})
    make_topic(admin, f"{name}.b", 1)
    until("the topic that came", lambda: poll_into(consumer, []) and topics_of(consumer) == {f"{name}.a", f"{name}.b"})
    consumer.close()


def group_offsets_are_listed_altered_and_groups_deleted(bootstrap, name):
    admin = admin_of(bootstrap)
    make_topic(admin, name, 2)
    produce(bootstrap, name, [(None, "x")] * 20)
    wanted = ConsumerGroupTopicPartitions(name, [TopicPartition(name, 0, 3), TopicPartition(name, 1, 4)])
    admin.alter_consumer_group_offsets([wanted])[name].result(10)
    listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name].result(10)
    equal(sorted((p.partition, p.offset) for p in listed.topic_partitions), [(0, 3), (1, 4)])
    groups = admin.list_consumer_groups().result(10)
    assert any(group.group_id == name for group in groups.valid), groups.valid
    admin.delete_consumer_groups([name])[name].result(10)
    groups = admin.list_consumer_groups().result(10)
    assert all(group.group_id != name for group in groups.valid), groups.valid


def committed_transactions_are_read_and_aborted_ones_are_not(bootstrap, name):
    make_topic(admin_of(bootstrap), name, 2)
    producer = transactional(bootstrap, name)
    for number in range(6):
        producer.begin_transaction()
        for part in range(10):
            producer.produce(name, f"{number}.{part}", partition=part % 2, on_delivery=delivered)
        producer.flush(10)
        producer.commit_transaction(10) if number % 2 else producer.abort_transaction(10)
    committed = sorted(f"{number}.{part}" for number in (1, 3, 5) for part in range(10))
    equal(sorted(m.value().decode() for m in read_assigned(bootstrap, name, 2, None)), committed, "read_committed")
    everything = read_assigned(bootstrap, name, 2, None, "read_uncommitted")
    equal(len(everything), 60, "read_uncommitted")


def an_open_transaction_holds_readers_back(bootstrap, name):
    make_topic(admin_of(bootstrap), name, 1)
    producer = transactional(bootstrap, name)
    producer.begin_transaction()
    producer.produce(name, "pending", on_delivery=delivered)
    producer.flush(10)
    produce(bootstrap, name, [(None, "behind it")])
    admin, partition = admin_of(bootstrap), TopicPartition(name, 0)
    for level, expected in [(IsolationLevel.READ_COMMITTED, 0), (IsolationLevel.READ_UNCOMMITTED, 2)]:
        found = admin.list_offsets({partition: OffsetSpec.latest()}, isolation_level=level)[partition].result(10)
        equal(found.offset, expected, level)
    equal(read_assigned(bootstrap, name, 1, None), [])
    producer.commit_transaction(10)
    equal([m.value() for m in read_assigned(bootstrap, name, 1, None)], [b"pending", b"behind it"])


def a_newer_producer_fences_the_older(bootstrap, name):
    make_topic(admin_of(bootstrap), name, 1)
    older = transactional(bootstrap, name)
    older.begin_transaction()
    older.produce(name, "of the older", on_delivery=lambda error, message: None)
    older.flush(10)
    newer = transactional(bootstrap, name)
    newer.begin_transaction()
    newer.produce(name, "of the newer", on_delivery=delivered)
    newer.commit_transaction(10)
    try:
        older.commit_transaction(10)
        raise AssertionError("the older one could commit")
    except KafkaException as error:
        fenced = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
        assert error.args[0].code() in fenced and error.args[0].fatal(), error
    equal([m.value() for m in read_assigned(bootstrap, name, 1, None)], [b"of the newer"])


def offsets_are_committed_with_a_transaction(bootstrap, name):
    source, target = f"{name}-source", f"{name}-target"
    admin = admin_of(bootstrap)
    make_topic(admin, source, 1), make_topic(admin, target, 1)
    produce(bootstrap, source, [(None, str(number)) for number in range(20)])
    producer = transactional(bootstrap, name)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": name, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False})
    consumer.subscribe([source])
    for outcome in ("abort", "commit"):
        values = []
        until("twenty records", lambda: poll_into(consumer, values) and len(values) >= 20)
        producer.begin_transaction()
        for value in values:
            producer.produce(target, value + b"!", on_delivery=delivered)
        producer.flush(10)
        positions = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 10)
        if outcome == "abort":
            producer.abort_transaction(10)
            equal(consumer.committed([TopicPartition(source, 0)], timeout=10)[0].offset, -1001, "nothing committed")
            consumer.seek(TopicPartition(source, 0, 0))
        else:
            producer.commit_transaction(10)
            equal(consumer.committed([TopicPartition(source, 0)], timeout=10)[0].offset, 20)
    consumer.close()
    equal(sorted(int(m.value()[:-1]) for m in read_assigned(bootstrap, target, 1, None)), list(range(20)))


def admin_of(bootstrap):
    return AdminClient({"bootstrap.servers": bootstrap})


def make_topic(admin, name, partitions, config=None):
    admin.create_topics([NewTopic(name, partitions, 1, config=config or {})])[name].result(10)
    until(f"the leaders of {name}", lambda: has_leaders(admin, name, partitions))


def has_leaders(admin, name, partitions):
    known = admin.list_topics(name, timeout=10).topics[name].partitions.values()
    return len(known) == partitions and all(partition.leader >= 0 for partition in known)


def produce(bootstrap, topic, records):
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for key, value in records:
        producer.produce(topic, value, key, on_delivery=delivered)
        producer.poll(0)
    equal(producer.flush(20), 0, "undelivered")


def delivered(error, message):
    if error:
        raise KafkaException(error)


def transactional(bootstrap, name):
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name})
    producer.init_transactions(15)
    return producer


def read_assigned(bootstrap, topic, partitions, count, isolation="read_committed"):
    """So many records without a group, or all up to the end."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                         "enable.partition.eof": True, "isolation.level": isolation, "check.crcs": True})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
    found, ended = [], set()

    def more():
        for message in consumer.consume(500, 0.2):
            if not message.error():
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise KafkaException(message.error())
        return len(found) >= count if count is not None else len(ended) == partitions

    until(f"{count or 'all'} records of {topic}, has {len(found)}", more)
    consumer.close()
    return found


def member(bootstrap, group, protocol):
    return Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, **protocol})


def poll_into(consumer, values):
    for message in consumer.consume(500, 0.1):
        if message.error():
            raise KafkaException(message.error())
        values.append(message.value())
    return True


def topics_of(consumer):
    return {partition.topic for partition in consumer.assignment()}


def describe_group(admin, group):
    description = admin.describe_consumer_groups([group])[group].result(10)
    return description.state.name, len(description.members)


run("librdkafka", [
    topics_are_made_described_grown_and_deleted,
    configs_are_described_and_altered,
    the_cluster_is_described,
    every_codec_comes_back_equal,
    an_empty_value_is_not_a_missing_one,
    offsets_are_found_by_time,
    records_are_deleted,
    two_members_share_a_classic_group,
    two_members_share_a_cooperative_group,
    two_members_share_a_consumer_group,
    a_group_by_regular_expression_sees_new_topics,
    group_offsets_are_listed_altered_and_groups_deleted,
    committed_transactions_are_read_and_aborted_ones_are_not,
    an_open_transaction_holds_readers_back,
    a_newer_producer_fences_the_older,
    offsets_are_committed_with_a_transaction,
])
