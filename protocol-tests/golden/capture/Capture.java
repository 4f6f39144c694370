// Makes the Java client send everything it can. Run by the binary `capture`, through relays that write it down:
//   java -cp KAFKA-JARS Capture.java PLAINTEXT-BOOTSTRAP SASL-BOOTSTRAP
// Every step stands alone: an error is printed and is a result too, because its bytes are.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.serialization.*;

public class Capture {
    interface Work { void run() throws Exception; }

    static final String TOPIC = "golden";
    static final TopicPartition FIRST = new TopicPartition(TOPIC, 0), SECOND = new TopicPartition(TOPIC, 1);
    static final long NOW = System.currentTimeMillis();
    static final Duration SHORT = Duration.ofMillis(500);

    static void step(String name, Work work) {
        try {
            work.run();
        } catch (Throwable error) {
            Throwable cause = error.getCause() == null ? error : error.getCause();
            System.out.println("java: " + name + ": " + cause.getClass().getSimpleName() + ": " + cause.getMessage());
        }
    }

    static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(20, TimeUnit.SECONDS);
    }

    static Map<String, Object> config(String bootstrap, Object... pairs) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("client.id", "java");
        config.put("max.block.ms", 10000);
        config.put("request.timeout.ms", 15000);
        config.put("default.api.timeout.ms", 20000);
        for (int at = 0; at < pairs.length; at += 2) config.put((String) pairs[at], pairs[at + 1]);
        return config;
    }

    static Map<String, Object> sasl(String bootstrap, String mechanism, String module, String user, String password,
                                    String more) {
        return config(bootstrap, "security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", mechanism, "sasl.jaas.config",
            "org.apache.kafka.common.security." + module + " required username=\"" + user + "\" password=\"" + password
            + "\"" + more + ";");
    }

    /** An old broker may leave a client waiting for what it does not have. */
    static void endAfter(Duration time) {
        Thread end = new Thread(() -> {
            try {
                Thread.sleep(time.toMillis());
            } catch (InterruptedException error) {
                return;
            }
            System.out.println("java: the time is up");
            Runtime.getRuntime().halt(0);
        });
        end.setDaemon(true);
        end.start();
    }

    public static void main(String[] arguments) {
        endAfter(Duration.ofMinutes(3));
        String plain = arguments[0], sasl = arguments[1];
        try (Admin admin = Admin.create(config(plain))) {
            topics(admin);
            step("producer", () -> produce(plain));
            step("transactions", () -> transactions(plain, admin));
            groups(plain, admin);
            step("share", () -> share(plain, admin));
            topicsAfterwards(admin);
            cluster(admin);
            security(admin, sasl);
            step("delete topic", () -> get(admin.deleteTopics(List.of("golden-old")).all()));
            step("delete topic by id", () -> {
                Uuid id = get(admin.describeTopics(List.of("golden-older")).allTopicNames()).get("golden-older").topicId();
                get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all());
            });
        }
        System.out.println("java: done");
        System.exit(0);
    }

    static void topics(Admin admin) {
        step("create topics", () -> get(admin.createTopics(List.of(
            new NewTopic(TOPIC, 2, (short) 1).configs(Map.of("max.message.bytes", "100000")),
            new NewTopic("golden-old", Map.of(0, List.of(1))))).all()));
        step("create a topic as the broker likes it", () -> get(admin.createTopics(List.of(
            new NewTopic("golden-older", Optional.empty(), Optional.empty()))).all()));
        step("create it again", () -> get(admin.createTopics(List.of(new NewTopic(TOPIC, 2, (short) 1)),
            new CreateTopicsOptions().validateOnly(true)).all()));
        step("list topics", () -> get(admin.listTopics(new ListTopicsOptions().listInternal(true)).names()));
        step("describe topics", () -> get(admin.describeTopics(List.of(TOPIC, "golden-absent")).allTopicNames()));
        step("describe topics by id", () -> {
            Uuid id = get(admin.describeTopics(List.of(TOPIC)).allTopicNames()).get(TOPIC).topicId();
            get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds());
        });
        step("create partitions", () -> get(admin.createPartitions(Map.of("golden-old", NewPartitions.increaseTo(3))).all()));
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
        step("alter configs", () -> get(admin.incrementalAlterConfigs(Map.of(topic, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "-1"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND),
            new AlterConfigOp(new ConfigEntry("segment.ms", null), AlterConfigOp.OpType.DELETE)))).all()));
        step("alter configs wrongly", () -> get(admin.incrementalAlterConfigs(Map.of(topic, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET)))).all()));
        step("undo compaction", () -> get(admin.incrementalAlterConfigs(Map.of(topic, List.of(
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "delete"), AlterConfigOp.OpType.SET)))).all()));
        step("describe configs", () -> get(admin.describeConfigs(List.of(topic),
            new DescribeConfigsOptions().includeDocumentation(true).includeSynonyms(true)).all()));
        step("describe configs of a group", () -> get(admin.describeConfigs(
            List.of(new ConfigResource(ConfigResource.Type.GROUP, "golden-share"))).all()));
        for (String group : List.of("golden-share", "golden-sharefetch-v1", "golden-sharefetch-v2")) {
            step("share groups start at the beginning", () -> get(admin.incrementalAlterConfigs(Map.of(
                new ConfigResource(ConfigResource.Type.GROUP, group), List.of(new AlterConfigOp(
                    new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET)))).all()));
        }
        step("client metrics", () -> get(admin.incrementalAlterConfigs(Map.of(
            new ConfigResource(ConfigResource.Type.CLIENT_METRICS, "golden-metrics"), List.of(
                new AlterConfigOp(new ConfigEntry("metrics", "org.apache.kafka.consumer."), AlterConfigOp.OpType.SET),
                new AlterConfigOp(new ConfigEntry("interval.ms", "100"), AlterConfigOp.OpType.SET)))).all()));
        step("list config resources", () -> get(admin.listConfigResources().all()));
        step("list config resources of a kind", () -> get(admin.listConfigResources(
            Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all()));
    }

    static KafkaProducer<String, String> producer(String bootstrap, Object... pairs) {
        return new KafkaProducer<>(config(bootstrap, pairs), new StringSerializer(), new StringSerializer());
    }

    static void produce(String bootstrap) throws Exception {
        for (String compression : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (var producer = producer(bootstrap, "compression.type", compression, "linger.ms", 50)) {
                for (int at = 0; at < 6; at++) {
                    var headers = List.<org.apache.kafka.common.header.Header>of(
                        new RecordHeader("trace", new byte[] {0, 1, 2}), new RecordHeader("none", (byte[]) null));
                    producer.send(new ProducerRecord<>(TOPIC, at % 2, NOW + at, at == 3 ? null : "key-" + at,
                        at == 4 ? null : compression + "-" + at, at == 5 ? headers : null));
                }
                producer.flush();
            }
        }
        try (var producer = producer(bootstrap, "acks", "0", "enable.idempotence", false)) {
            producer.send(new ProducerRecord<>(TOPIC, "key", "unanswered"));
        }
        try (var producer = producer(bootstrap, "max.request.size", 1000000)) {
            step("too large", () -> producer.send(new ProducerRecord<>(TOPIC, "x".repeat(100001))).get());
        }
    }

    static void transactions(String bootstrap, Admin admin) throws Exception {
        var producer = producer(bootstrap, "transactional.id", "golden-txn");
        producer.initTransactions();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(TOPIC, 0, "txn", "committed"));
        producer.sendOffsetsToTransaction(Map.of(FIRST, new OffsetAndMetadata(1, Optional.of(0), "by a transaction")),
            new ConsumerGroupMetadata("golden-txn-group"));
        producer.commitTransaction();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(TOPIC, 0, "txn", "aborted")).get();
        step("describe producers", () -> get(admin.describeProducers(List.of(FIRST)).all()));
        step("describe transactions", () -> get(admin.describeTransactions(List.of("golden-txn")).all()));
        step("describe no transactions", () -> get(admin.describeTransactions(List.of("golden-absent")).all()));
        step("list transactions", () -> get(admin.listTransactions().all()));
        step("list transactions by a filter", () -> get(admin.listTransactions(new ListTransactionsOptions()
            .filterStates(Set.of(TransactionState.ONGOING)).filterProducerIds(Set.of(1L, 2L))
            .filterOnDuration(1).filterOnTransactionalIdPattern("golden.*")).all()));
        producer.abortTransaction();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(TOPIC, 1, "txn", "left open")).get();
        step("abort a transaction", () -> {
            ProducerState state = get(admin.describeProducers(List.of(SECOND)).all()).get(SECOND).activeProducers()
                .stream().filter(one -> one.currentTransactionStartOffset().isPresent()).findFirst().orElseThrow();
            get(admin.abortTransaction(new AbortTransactionSpec(SECOND, state.producerId(),
                (short) state.producerEpoch(), state.coordinatorEpoch().orElse(0))).all());
        });
        step("fence", () -> get(admin.fenceProducers(List.of("golden-txn")).all()));
        step("fenced", () -> producer.commitTransaction());
        producer.close(Duration.ZERO);
    }

    static KafkaConsumer<String, String> consumer(String bootstrap, Object... pairs) {
        var config = config(bootstrap, pairs);
        config.putIfAbsent("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    static int read(KafkaConsumer<String, String> consumer) {
        int read = 0;
        for (int at = 0; at < 20 && read == 0; at++) read += consumer.poll(SHORT).count();
        return read;
    }

    static void groups(String bootstrap, Admin admin) {
        for (String protocol : List.of("classic", "consumer")) {
            String group = "golden-" + protocol;
            step(protocol, () -> {
                try (var consumer = consumer(bootstrap, "group.id", group, "group.protocol", protocol,
                        "isolation.level", "read_committed", "group.instance.id", group + "-1", "client.rack", "rack-1")) {
                    consumer.subscribe(List.of(TOPIC));
                    System.out.println("java: " + protocol + " read " + read(consumer));
                    consumer.commitSync(Map.of(FIRST, new OffsetAndMetadata(2, Optional.of(0), "metadata")));
                    consumer.committed(Set.of(FIRST, SECOND));
                    step("describe " + group, () -> get(admin.describeConsumerGroups(List.of(group),
                        new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all()));
                    for (int at = 0; at < 8; at++) consumer.poll(SHORT);
                }
            });
            step("remove members", () -> get(admin.removeMembersFromConsumerGroup(group,
                new RemoveMembersFromConsumerGroupOptions()).all()));
            step(protocol + ", dynamic", () -> {
                try (var consumer = consumer(bootstrap, "group.id", group, "group.protocol", protocol)) {
                    if (protocol.equals("classic")) consumer.subscribe(List.of(TOPIC));
                    else consumer.subscribe(new SubscriptionPattern("golden.*"));
                    read(consumer);
                }
            });
        }
        step("assign", () -> {
            try (var consumer = consumer(bootstrap, "group.id", "golden-assigned", "check.crcs", true)) {
                consumer.assign(List.of(FIRST, SECOND));
                consumer.seekToBeginning(List.of(FIRST));
                System.out.println("java: assigned read " + read(consumer));
                consumer.offsetsForTimes(Map.of(FIRST, NOW + 3));
                consumer.endOffsets(List.of(FIRST, SECOND));
                consumer.commitSync();
                consumer.commitSync(Map.of(SECOND, new OffsetAndMetadata(1)));
                consumer.seek(FIRST, new OffsetAndMetadata(1, Optional.of(0), ""));
                consumer.poll(SHORT);
                consumer.seek(FIRST, 1000000);
                consumer.poll(SHORT);
                consumer.partitionsFor(TOPIC);
                consumer.listTopics();
            }
        });
        step("list groups", () -> get(admin.listGroups().all()));
        step("list groups by a filter", () -> get(admin.listGroups(new ListGroupsOptions()
            .inGroupStates(Set.of(GroupState.EMPTY)).withTypes(Set.of(GroupType.CLASSIC))).all()));
        step("describe classic groups", () -> get(admin.describeClassicGroups(List.of("golden-assigned")).all()));
        step("describe streams groups", () -> get(admin.describeStreamsGroups(List.of("golden-streams")).all()));
        step("list offsets of groups", () -> get(admin.listConsumerGroupOffsets(Map.of(
            "golden-classic", new ListConsumerGroupOffsetsSpec(),
            "golden-txn-group", new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(FIRST)))).all()));
        step("alter offsets", () -> get(admin.alterConsumerGroupOffsets("golden-assigned",
            Map.of(FIRST, new OffsetAndMetadata(3))).all()));
        step("delete offsets", () -> get(admin.deleteConsumerGroupOffsets("golden-assigned", Set.of(SECOND)).all()));
        step("delete groups", () -> get(admin.deleteConsumerGroups(List.of("golden-assigned", "golden-absent")).all()));
    }

    static void share(String bootstrap, Admin admin) throws Exception {
        String group = "golden-share";
        step("offsets of a share group", () -> get(admin.alterShareGroupOffsets(group, Map.of(FIRST, 0L)).all()));
        try (var consumer = new KafkaShareConsumer<>(config(bootstrap, "group.id", group,
                "share.acknowledgement.mode", "explicit", "max.poll.records", 2), new StringDeserializer(),
                new StringDeserializer())) {
            consumer.subscribe(List.of(TOPIC));
            int read = 0;
            for (int at = 0; at < 40 && read < 6; at++) {
                for (var record : consumer.poll(SHORT)) {
                    consumer.acknowledge(record, switch (read++ % 3) {
                        case 0 -> AcknowledgeType.ACCEPT;
                        case 1 -> AcknowledgeType.RELEASE;
                        default -> AcknowledgeType.REJECT;
                    });
                }
                consumer.commitSync();
            }
            System.out.println("java: share read " + read);
            step("describe share groups", () -> get(admin.describeShareGroups(List.of(group)).all()));
        }
        step("list offsets of share groups", () -> get(admin.listShareGroupOffsets(
            Map.of(group, new ListShareGroupOffsetsSpec())).all()));
        step("alter offsets of a share group", () -> get(admin.alterShareGroupOffsets(group, Map.of(FIRST, 1L)).all()));
        step("delete offsets of a share group", () -> get(admin.deleteShareGroupOffsets(group, Set.of(TOPIC)).all()));
        step("delete share groups", () -> get(admin.deleteShareGroups(List.of(group)).all()));
    }

    static void topicsAfterwards(Admin admin) {
        step("list offsets", () -> get(admin.listOffsets(Map.of(FIRST, OffsetSpec.maxTimestamp())).all()));
        step("list the latest offsets", () -> get(admin.listOffsets(
            Map.of(FIRST, OffsetSpec.latest(), SECOND, OffsetSpec.earliest())).all()));
        step("list tiered offsets", () -> get(admin.listOffsets(Map.of(FIRST, OffsetSpec.latestTiered())).all()));
        step("delete records", () -> get(admin.deleteRecords(Map.of(FIRST, RecordsToDelete.beforeOffset(2),
            SECOND, RecordsToDelete.beforeOffset(1000000))).all()));
        step("elect leaders", () -> get(admin.electLeaders(ElectionType.PREFERRED, Set.of(FIRST)).all()));
        step("elect all unclean", () -> get(admin.electLeaders(ElectionType.UNCLEAN, null).all()));
        step("reassign", () -> get(admin.alterPartitionReassignments(Map.of(
            FIRST, Optional.of(new NewPartitionReassignment(List.of(1))),
            SECOND, Optional.<NewPartitionReassignment>empty())).all()));
        step("list reassignments", () -> get(admin.listPartitionReassignments().reassignments()));
        step("list reassignments of one", () -> get(admin.listPartitionReassignments(Set.of(FIRST)).reassignments()));
    }

    static void cluster(Admin admin) {
        step("describe cluster", () -> get(admin.describeCluster(
            new DescribeClusterOptions().includeAuthorizedOperations(true)).nodes()));
        step("describe fenced brokers", () -> get(admin.describeCluster(
            new DescribeClusterOptions().includeFencedBrokers(true)).nodes()));
        step("describe features", () -> get(admin.describeFeatures().featureMetadata()));
        step("update features", () -> get(admin.updateFeatures(Map.of("share.version", new FeatureUpdate((short) 0,
            FeatureUpdate.UpgradeType.SAFE_DOWNGRADE)), new UpdateFeaturesOptions().validateOnly(true)).all()));
        step("describe quorum", () -> get(admin.describeMetadataQuorum().quorumInfo()));
        step("add a voter", () -> get(admin.addRaftVoter(2, Uuid.ONE_UUID,
            Set.of(new RaftVoterEndpoint("CONTROLLER", "127.0.0.1", 9))).all()));
        step("remove a voter", () -> get(admin.removeRaftVoter(2, Uuid.ONE_UUID).all()));
        step("unregister a broker", () -> get(admin.unregisterBroker(77).all()));
        step("describe log dirs", () -> {
            var folders = get(admin.describeLogDirs(List.of(1)).allDescriptions()).get(1);
            step("alter log dirs", () -> get(admin.alterReplicaLogDirs(Map.of(new TopicPartitionReplica(TOPIC, 0, 1),
                folders.keySet().iterator().next())).all()));
        });
        step("describe log dirs of a replica", () -> get(admin.describeReplicaLogDirs(
            List.of(new TopicPartitionReplica(TOPIC, 0, 1))).all()));
        var entity = new ClientQuotaEntity(Map.of("user", "golden-user", "client-id", "golden-client"));
        var nobody = new HashMap<String, String>();
        nobody.put("user", null);
        step("alter quotas", () -> get(admin.alterClientQuotas(List.of(
            new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1e9),
                new ClientQuotaAlteration.Op("request_percentage", null))),
            new ClientQuotaAlteration(new ClientQuotaEntity(nobody),
                List.of(new ClientQuotaAlteration.Op("consumer_byte_rate", 1e9))))).all()));
        step("describe quotas", () -> get(admin.describeClientQuotas(ClientQuotaFilter.all()).entities()));
        step("describe some quotas", () -> get(admin.describeClientQuotas(ClientQuotaFilter.containsOnly(List.of(
            ClientQuotaFilterComponent.ofEntity("user", "golden-user"),
            ClientQuotaFilterComponent.ofEntityType("client-id")))).entities()));
    }

    static void security(Admin admin, String sasl) {
        var acl = new AclBinding(new ResourcePattern(ResourceType.TOPIC, "golden-acl", PatternType.PREFIXED),
            new AccessControlEntry("User:golden-user", "*", AclOperation.READ, AclPermissionType.ALLOW));
        step("create acls", () -> get(admin.createAcls(List.of(acl)).all()));
        step("describe acls", () -> get(admin.describeAcls(AclBindingFilter.ANY).values()));
        step("delete acls", () -> get(admin.deleteAcls(List.of(acl.toFilter())).all()));
        step("alter scram", () -> get(admin.alterUserScramCredentials(List.of(
            new UserScramCredentialUpsertion("golden-user", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096),
                "golden-secret".getBytes(), "golden-salt".getBytes()),
            new UserScramCredentialDeletion("golden-absent", ScramMechanism.SCRAM_SHA_512))).all()));
        step("describe scram", () -> get(admin.describeUserScramCredentials().all()));
        step("describe scram of users", () -> get(admin.describeUserScramCredentials(
            List.of("golden-user", "golden-absent")).all()));
        step("scram", () -> {
            var config = sasl(sasl, "SCRAM-SHA-512", "scram.ScramLoginModule", "alice", "alice-secret", "");
            try (Admin alice = Admin.create(config)) { get(alice.describeCluster().nodes()); }
        });
        step("scram with a wrong password", () -> {
            var config = sasl(sasl, "SCRAM-SHA-256", "scram.ScramLoginModule", "alice", "wrong-secret", "");
            try (Admin alice = Admin.create(config)) { get(alice.describeCluster().nodes()); }
        });
        step("tokens", () -> {
            try (Admin alice = Admin.create(sasl(sasl, "PLAIN", "plain.PlainLoginModule", "alice", "alice-secret", ""))) {
                var token = get(alice.createDelegationToken(new CreateDelegationTokenOptions().maxLifetimeMs(3600000)
                    .renewers(List.of(new KafkaPrincipal("User", "admin")))).delegationToken());
                get(alice.describeDelegationToken().delegationTokens());
                Thread.sleep(1000);
                step("with a token", () -> {
                    var config = sasl(sasl, "SCRAM-SHA-256", "scram.ScramLoginModule", token.tokenInfo().tokenId(),
                        token.hmacAsBase64String(), " tokenauth=\"true\"");
                    try (Admin holder = Admin.create(config)) { get(holder.describeCluster().nodes()); }
                });
                get(alice.renewDelegationToken(token.hmac()).expiryTimestamp());
                get(alice.expireDelegationToken(token.hmac()).expiryTimestamp());
                step("expire it again", () -> get(alice.expireDelegationToken(token.hmac()).expiryTimestamp()));
            }
        });
    }
}
