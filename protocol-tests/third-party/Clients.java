import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import java.util.stream.*;

import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/**
 * Java's clients against a cluster, all in one JVM: topics, every codec, offsets, groups of both protocols,
 * transactions.
 *
 * Usage: java -cp JARS Clients.java BOOTSTRAP [WORD...]: runs the stories whose names have one of the words, or all.
 * A story takes a name that all its topics, groups and transactional ids begin with. The file that
 * MILENA_CLIENT_PROPERTIES names, if it is set, has more settings for every client.
 */
public class Clients {
    interface Story { void tell(String name) throws Exception; }

    static String bootstrap;
    static Admin admin;
    static final Map<String, Object> COMMON = new HashMap<>();
    static final Map<String, Story> STORIES = new LinkedHashMap<>();

    static {
        STORIES.put("topics are made, described, grown and deleted", Clients::topics);
        STORIES.put("configs are described and altered", Clients::configs);
        STORIES.put("the cluster is described", Clients::cluster);
        STORIES.put("every codec comes back equal", Clients::codecs);
        STORIES.put("offsets are found by time", Clients::offsetsByTime);
        STORIES.put("records are deleted", Clients::recordsDeleted);
        STORIES.put("two members share a classic group", name -> shareGroup(name, Map.of("group.protocol", "classic")));
        STORIES.put("two members share a cooperative group", name -> shareGroup(name, Map.of("group.protocol", "classic",
            "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor")));
        STORIES.put("two members share a consumer group", name -> shareGroup(name, Map.of("group.protocol", "consumer")));
        STORIES.put("the server assigns by range", name ->
            shareGroup(name, Map.of("group.protocol", "consumer", "group.remote.assignor", "range")));
        STORIES.put("the server matches a regular expression", Clients::serverRegex);
        STORIES.put("a static member keeps its partitions", Clients::staticMember);
        STORIES.put("group offsets are altered and groups deleted", Clients::groupAdmin);
        STORIES.put("committed transactions are read and aborted ones are not", Clients::transactions);
        STORIES.put("an open transaction holds readers back and is described", Clients::openTransaction);
        STORIES.put("a newer producer fences the older", Clients::fencing);
        STORIES.put("offsets are committed with a transaction", Clients::offsetsInTransaction);
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        COMMON.put("bootstrap.servers", bootstrap);
        if (System.getenv("MILENA_CLIENT_PROPERTIES") != null) {
            var properties = new Properties();
            properties.load(Files.newBufferedReader(Path.of(System.getenv("MILENA_CLIENT_PROPERTIES"))));
            properties.forEach((key, value) -> COMMON.put((String) key, value));
        }
        admin = Admin.create(COMMON);
        var words = List.of(arguments).subList(1, arguments.length);
        int passed = 0, failed = 0, number = 0;
        for (var entry : STORIES.entrySet()) {
            if (!words.isEmpty() && words.stream().noneMatch(entry.getKey()::contains)) continue;
            var began = System.nanoTime();
            try {
                entry.getValue().tell("java-" + ProcessHandle.current().pid() + "-" + number++);
                passed++;
                System.out.printf("ok java: %s (%.1f s)%n", entry.getKey(), (System.nanoTime() - began) / 1e9);
            } catch (Throwable error) {
                failed++;
                System.out.println("FAILED java: " + entry.getKey());
                error.printStackTrace(System.out);
            }
        }
        System.out.printf("java: %d passed, %d failed%n", passed, failed);
        // Threads of a client that is in trouble must not keep the process.
        Runtime.getRuntime().halt(failed > 0 || passed == 0 ? 1 : 0);
    }

    static void topics(String name) throws Exception {
        makeTopic(name, 3);
        var description = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        equal(description.partitions().size(), 3);
        equal(admin.describeTopics(TopicCollection.ofTopicIds(List.of(description.topicId()))).allTopicIds().get()
            .get(description.topicId()).name(), name);
        fails(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(name, 1, (short) 1))).all().get());
        admin.createPartitions(Map.of(name, NewPartitions.increaseTo(5))).all().get();
        until("five partitions", () -> get(() ->
            admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size() == 5));
        admin.deleteTopics(List.of(name)).all().get();
        until("the topic to go", () -> get(() -> !admin.listTopics().names().get().contains(name)));
    }

    static void configs(String name) throws Exception {
        makeTopic(name + ".plain", 1);
        var standard = configOf(new ConfigResource(ConfigResource.Type.TOPIC, name + ".plain"), "retention.ms");
        admin.createTopics(List.of(new NewTopic(name, 1, (short) 1).configs(Map.of("retention.ms", "123456")))).all().get();
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        equal(configOf(resource, "retention.ms"), "123456");
        equal(configOf(resource, "cleanup.policy"), "delete");
        var change = new AlterConfigOp(new ConfigEntry("retention.ms", "654321"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
        until("the new value", () -> get(() -> configOf(resource, "retention.ms").equals("654321")));
        var back = new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(back))).all().get();
        until("the default again", () -> get(() -> configOf(resource, "retention.ms").equals(standard)));
    }

    static void cluster(String name) throws Exception {
        var cluster = admin.describeCluster();
        equal(cluster.nodes().get().size(), bootstrap.split(",").length);
        check(cluster.controller().get() != null && !cluster.clusterId().get().isEmpty(), "a controller and an id");
    }

    static void codecs(String name) throws Exception {
        makeTopic(name, 4);
        var sent = new TreeMap<String, String>();
        for (var codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (var producer = producer(Map.of("compression.type", codec, "linger.ms", 5,
                "enable.idempotence", !codec.equals("none")))) {
                for (int number = 0; number < 500; number++) {
                    var value = codec + " " + number + " " + "x".repeat(number % 300);
                    var record = new ProducerRecord<>(name, null, 1_700_000_000_000L + number, codec + number, value);
                    record.headers().add("codec", codec.getBytes(StandardCharsets.UTF_8));
                    producer.send(record, Clients::sent);
                    sent.put(codec + number, value + codec + record.timestamp());
                }
            }
        }
        var found = new TreeMap<String, String>();
        for (var record : read(name, 4, "read_committed")) {
            var header = new String(record.headers().lastHeader("codec").value(), StandardCharsets.UTF_8);
            found.put(record.key(), record.value() + header + record.timestamp());
        }
        equal(found, sent);
    }

    static void offsetsByTime(String name) throws Exception {
        makeTopic(name, 1);
        var partition = new TopicPartition(name, 0);
        try (var producer = producer(Map.of())) {
            for (int number = 0; number < 10; number++) {
                producer.send(new ProducerRecord<>(name, 0, 1000L + number * 10, null, "x"), Clients::sent);
            }
        }
        for (var codec : List.of("none", "zstd")) {
            try (var producer = producer(Map.of("compression.type", codec, "linger.ms", 100))) {
                for (int number = 10; number < 20; number++) {
                    producer.send(new ProducerRecord<>(name, 0, 1000L + number * 10, null, "x"), Clients::sent);
                }
            }
        }
        try (var consumer = consumer(Map.of())) {
            equal(consumer.beginningOffsets(List.of(partition)), Map.of(partition, 0L));
            equal(consumer.endOffsets(List.of(partition)), Map.of(partition, 30L));
            var found = consumer.offsetsForTimes(Map.of(partition, 1045L)).get(partition);
            equal(List.of(found.offset(), found.timestamp()), List.of(5L, 1050L));
            equal(consumer.offsetsForTimes(Map.of(partition, 5000L)).get(partition), null);
        }
        var specs = Map.of(OffsetSpec.earliest(), 0L, OffsetSpec.latest(), 30L, OffsetSpec.maxTimestamp(), 19L,
            OffsetSpec.forTimestamp(1145L), 15L);
        for (var spec : specs.entrySet()) {
            equal(admin.listOffsets(Map.of(partition, spec.getKey())).all().get().get(partition).offset(), spec.getValue());
        }
    }

    static void recordsDeleted(String name) throws Exception {
        makeTopic(name, 1);
        produce(name, 0, 10);
        var partition = new TopicPartition(name, 0);
        var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4)));
        equal(deleted.lowWatermarks().get(partition).get().lowWatermark(), 4L);
        equal(values(read(name, 1, "read_committed")), List.of("4", "5", "6", "7", "8", "9"));
    }

    /** One member has all, a second one joins and takes half, the first leaves, the second has all; then a third resumes. */
    static void shareGroup(String name, Map<String, Object> protocol) throws Exception {
        makeTopic(name, 4);
        produce(name, 0, 400);
        var seen = new ArrayList<String>();
        var more = new ArrayList<String>();
        try (var second = member(name, protocol)) {
            try (var first = member(name, protocol)) {
                first.subscribe(List.of(name));
                until("the first member to read all", () -> pollInto(first, seen).size() >= 400);
                equal(new HashSet<>(seen).size(), 400);
                first.commitSync();
                second.subscribe(List.of(name));
                until("two partitions each", () -> {
                    pollInto(first, more);
                    pollInto(second, more);
                    return first.assignment().size() == 2 && second.assignment().size() == 2;
                });
                var described = admin.describeConsumerGroups(List.of(name)).all().get().get(name);
                equal(List.of(described.groupState(), described.members().size()), List.of(GroupState.STABLE, 2));
            }
            until("all for the one who stayed", () -> { pollInto(second, more); return second.assignment().size() == 4; });
            equal(more, List.of());
            produce(name, 400, 500);
            until("what is new", () -> pollInto(second, more).size() >= 100);
            second.commitSync();
        }
        until("an empty group", () -> get(() ->
            admin.describeConsumerGroups(List.of(name)).all().get().get(name).groupState() == GroupState.EMPTY));
        try (var third = member(name, protocol)) {
            var all = IntStream.range(0, 4).mapToObj(partition -> new TopicPartition(name, partition));
            var committed = third.committed(all.collect(Collectors.toSet()));
            equal(committed.values().stream().mapToLong(OffsetAndMetadata::offset).sum(), 500L);
        }
    }

    static void serverRegex(String name) throws Exception { // KIP-848, by RE2/J
        makeTopic(name + ".a", 1);
        try (var consumer = member(name, Map.of("group.protocol", "consumer"))) {
            consumer.subscribe(new SubscriptionPattern(name + "\\..*"));
            until("the topic that was there", () -> { pollInto(consumer, new ArrayList<>()); return consumer.assignment().size() == 1; });
            makeTopic(name + ".b", 1);
            until("the topic that came", () -> { pollInto(consumer, new ArrayList<>()); return consumer.assignment().size() == 2; });
            try (var wrong = member(name, Map.of("group.protocol", "consumer"))) {
                wrong.subscribe(new SubscriptionPattern("(["));
                fails(InvalidRegularExpression.class, () -> {
                    until("a refusal", () -> { wrong.poll(Duration.ofMillis(100)); return false; });
                    return null;
                });
            }
        }
    }

    static void staticMember(String name) throws Exception { // KIP-345
        makeTopic(name, 2);
        for (var protocol : List.of("classic", "consumer")) {
            var group = name + "-" + protocol;
            Map<String, Object> settings = Map.of("group.protocol", protocol, "group.instance.id", "the-one");
            for (int life = 0; life < 2; life++) {
                try (var consumer = member(group, settings)) {
                    consumer.subscribe(List.of(name));
                    until("both partitions", () -> { pollInto(consumer, new ArrayList<>()); return consumer.assignment().size() == 2; });
                }
                // Closing is not leaving.
                var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                equal(described.members().stream().map(it -> it.groupInstanceId().orElse("")).toList(), List.of("the-one"));
            }
            var leave = new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("the-one")));
            admin.removeMembersFromConsumerGroup(group, leave).all().get();
            equal(admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), 0);
        }
    }

    static void groupAdmin(String name) throws Exception {
        makeTopic(name, 2);
        produce(name, 0, 20);
        var first = new TopicPartition(name, 0);
        var second = new TopicPartition(name, 1);
        var wanted = Map.of(first, new OffsetAndMetadata(3, "a note"), second, new OffsetAndMetadata(4));
        admin.alterConsumerGroupOffsets(name, wanted).all().get();
        equal(admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get(), wanted);
        check(admin.listGroups().all().get().stream().anyMatch(it -> it.groupId().equals(name)), "the group is listed");
        admin.deleteConsumerGroupOffsets(name, Set.of(second)).all().get();
        equal(admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get().keySet(), Set.of(first));
        admin.deleteConsumerGroups(List.of(name)).all().get();
        check(admin.listGroups().all().get().stream().noneMatch(it -> it.groupId().equals(name)), "the group is gone");
        fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(name)).all().get());
    }

    static void transactions(String name) throws Exception {
        makeTopic(name, 2);
        var committed = new TreeSet<String>();
        try (var producer = producer(Map.of("transactional.id", name))) {
            producer.initTransactions();
            for (int number = 0; number < 6; number++) {
                producer.beginTransaction();
                for (int part = 0; part < 10; part++) {
                    producer.send(new ProducerRecord<>(name, part % 2, null, number + "." + part), (metadata, error) -> {});
                    if (number % 2 == 1) committed.add(number + "." + part);
                }
                producer.flush();
                if (number % 2 == 1) producer.commitTransaction(); else producer.abortTransaction();
            }
        }
        equal(new TreeSet<>(values(read(name, 2, "read_committed"))), committed);
        equal(read(name, 2, "read_uncommitted").size(), 60);
    }

    static void openTransaction(String name) throws Exception {
        makeTopic(name, 1);
        var partition = new TopicPartition(name, 0);
        try (var producer = producer(Map.of("transactional.id", name))) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(name, "pending")).get();
            produce(name, 1, 2);
            for (var level : IsolationLevel.values()) {
                var offset = admin.listOffsets(Map.of(partition, OffsetSpec.latest()), new ListOffsetsOptions(level));
                equal(offset.all().get().get(partition).offset(), level == IsolationLevel.READ_COMMITTED ? 0L : 2L);
            }
            equal(read(name, 1, "read_committed").size(), 0);
            var described = admin.describeTransactions(List.of(name)).all().get().get(name);
            equal(List.of(described.state(), described.topicPartitions()), List.of(TransactionState.ONGOING, Set.of(partition)));
            check(admin.listTransactions().all().get().stream().anyMatch(it -> it.transactionalId().equals(name)), "listed");
            var open = admin.describeProducers(List.of(partition)).all().get().get(partition).activeProducers().stream()
                .filter(it -> it.producerId() == described.producerId()).findFirst().orElseThrow();
            equal(open.currentTransactionStartOffset(), OptionalLong.of(0));
            producer.commitTransaction();
        }
        equal(values(read(name, 1, "read_committed")), List.of("pending", "1"));
        equal(admin.describeTransactions(List.of(name)).all().get().get(name).state(), TransactionState.COMPLETE_COMMIT);
    }

    static void fencing(String name) throws Exception {
        makeTopic(name, 1);
        try (var older = producer(Map.of("transactional.id", name)); var newer = producer(Map.of("transactional.id", name))) {
            older.initTransactions();
            older.beginTransaction();
            older.send(new ProducerRecord<>(name, "of the older")).get();
            newer.initTransactions();
            newer.beginTransaction();
            newer.send(new ProducerRecord<>(name, "of the newer")).get();
            newer.commitTransaction();
            fails(ProducerFencedException.class, () -> { older.commitTransaction(); return null; });
            admin.fenceProducers(List.of(name)).all().get();
            newer.beginTransaction();
            fails(KafkaException.class, () -> {
                newer.send(new ProducerRecord<>(name, "of a fenced one"));
                newer.commitTransaction();
                return null;
            });
        }
        equal(values(read(name, 1, "read_committed")), List.of("of the newer"));
    }

    static void offsetsInTransaction(String name) throws Exception {
        for (var protocol : List.of("classic", "consumer")) {
            var source = name + "-source-" + protocol;
            var target = name + "-target-" + protocol;
            makeTopic(source, 1);
            makeTopic(target, 1);
            produce(source, 0, 20);
            var partition = new TopicPartition(source, 0);
            try (var producer = producer(Map.of("transactional.id", source));
                 var consumer = member(source, Map.of("group.protocol", protocol))) {
                producer.initTransactions();
                consumer.subscribe(List.of(source));
                for (var commit : List.of(false, true)) {
                    var values = new ArrayList<String>();
                    until("twenty records", () -> pollInto(consumer, values).size() >= 20);
                    producer.beginTransaction();
                    values.forEach(value -> producer.send(new ProducerRecord<>(target, value + "!"), (metadata, error) -> {}));
                    var position = Map.of(partition, new OffsetAndMetadata(consumer.position(partition)));
                    producer.sendOffsetsToTransaction(position, consumer.groupMetadata());
                    if (commit) {
                        producer.commitTransaction();
                        equal(consumer.committed(Set.of(partition)).get(partition).offset(), 20L);
                    } else {
                        producer.abortTransaction();
                        equal(consumer.committed(Set.of(partition)).get(partition), null);
                        consumer.seek(partition, 0);
                    }
                }
            }
            equal(read(target, 1, "read_committed").size(), 20);
        }
    }

    static void makeTopic(String name, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
        until("leaders of " + name, () -> get(() -> admin.describeTopics(List.of(name)).allTopicNames().get().get(name)
            .partitions().stream().filter(partition -> partition.leader() != null).count() == partitions));
    }

    static String configOf(ConfigResource resource, String name) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name).value();
    }

    static void produce(String topic, int from, int to) {
        try (var producer = producer(Map.of())) {
            for (int number = from; number < to; number++) {
                producer.send(new ProducerRecord<>(topic, "" + number, "" + number), Clients::sent);
            }
        }
    }

    static void sent(RecordMetadata metadata, Exception error) {
        if (error != null) throw new IllegalStateException("not sent", error);
    }

    static KafkaProducer<String, String> producer(Map<String, Object> more) {
        var settings = new HashMap<>(COMMON);
        settings.putAll(more);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        var settings = new HashMap<>(COMMON);
        settings.putAll(Map.of("enable.auto.commit", false, "auto.offset.reset", "earliest"));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static KafkaConsumer<String, String> member(String group, Map<String, Object> protocol) {
        var settings = new HashMap<String, Object>(Map.of("group.id", group));
        if ("classic".equals(protocol.get("group.protocol"))) {
            settings.putAll(Map.of("session.timeout.ms", 6000, "heartbeat.interval.ms", 300));
        }
        settings.putAll(protocol);
        return consumer(settings);
    }

    /** Everything in a topic, up to what is its end for that isolation level. */
    static List<ConsumerRecord<String, String>> read(String topic, int partitions, String isolation) {
        try (var consumer = consumer(Map.of("isolation.level", isolation))) {
            var all = IntStream.range(0, partitions).mapToObj(index -> new TopicPartition(topic, index)).toList();
            var found = new ArrayList<ConsumerRecord<String, String>>();
            consumer.assign(all);
            var ends = consumer.endOffsets(all);
            until("the end of " + topic, () -> {
                consumer.poll(Duration.ofMillis(100)).forEach(found::add);
                return all.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
            });
            return found;
        }
    }

    static List<String> pollInto(KafkaConsumer<String, String> consumer, List<String> values) {
        consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
        return values;
    }

    static List<String> values(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }

    static boolean get(Callable<Boolean> answer) {
        try {
            return answer.call();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof RetriableException) return false;
            throw new IllegalStateException(error);
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    static void until(String what, BooleanSupplier probe) {
        var deadline = System.nanoTime() + 30_000_000_000L;
        while (!probe.getAsBoolean()) check(System.nanoTime() < deadline, "not within 30 s: " + what);
    }

    static void fails(Class<? extends Throwable> expected, Callable<Object> action) {
        try {
            action.call();
        } catch (Throwable error) {
            var cause = error instanceof ExecutionException ? error.getCause() : error;
            if (expected.isInstance(cause)) return;
            throw new AssertionError("another error than " + expected.getSimpleName(), cause);
        }
        throw new AssertionError("no " + expected.getSimpleName());
    }

    static void equal(Object found, Object expected) {
        check(Objects.equals(found, expected), found + " is not " + expected);
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }
}
