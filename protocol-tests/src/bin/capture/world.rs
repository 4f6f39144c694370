//! What the probes say in the fields of their requests.
//!
//! Rules this file keeps:
//! - what one message says goes before what all say of a field of that name, and that before what its entity is;
//! - whatever is made or changed on the broker belongs to the probes alone: its name has the version in it, or
//!   “probe”, “golden” or “absent”.

use milena::wire::{Entity, FieldSpec};
use protocol_tests::golden;

use self::Value::{Bool, Bytes, Empty, Int, Null, Text, Uuid};

/// What is on the broker that requests can name.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    /// The version that is asked for now.
    pub(crate) version: i16,
    pub(crate) group: String,
    pub(crate) transactional_id: String,
    pub(crate) topic_id: [u8; 16],
    pub(crate) cluster_id: String,
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) hmac: Vec<u8>,
    pub(crate) sasl_bytes: Vec<u8>,
}

/// What a field is to be.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Default,
    Null,
    /// An array without elements.
    Empty,
    Int(i64),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
    Uuid([u8; 16]),
}

impl World {
    /// The topic that every step uses.
    pub(crate) const TOPIC: &str = "golden";

    /// What the field of the message is to be.
    pub(crate) fn say(&self, message: &str, spec: &FieldSpec) -> Value {
        let field = spec.name.trim_start_matches("r#");
        self.partitions(message, field)
            .or_else(|| self.classic_groups(message, field))
            .or_else(|| self.new_groups(message, field))
            .or_else(|| self.transactions(message, field))
            .or_else(|| self.topics(message, field, spec))
            .or_else(|| self.security(message, field))
            .or_else(|| cluster(message, field))
            .or_else(|| self.anywhere(field))
            .unwrap_or_else(|| self.entity(spec))
    }

    fn partitions(&self, message: &str, field: &str) -> Option<Value> {
        Some(match (message, field) {
            ("Produce", "transactional_id") => Null,
            ("Produce", "acks") => Int(-1),
            ("Produce", "records") => Bytes(golden::unhex(BATCH).unwrap_or_default()),
            ("Fetch", "session_epoch" | "cluster_id" | "replica_id") => Value::Default,
            ("Fetch" | "ShareFetch", "forgotten_topics_data") => Empty,
            ("Fetch", "max_wait_ms") => Int(100),
            ("Fetch", "fetch_offset") => Int(5),
            ("ListOffsets", "replica_id") => Int(-1),
            ("ListOffsets", "timestamp") => Int(-2),
            ("Metadata", "topic_id") if self.version < 12 => Uuid([0; 16]),
            ("Metadata", "name") if self.version >= 12 => Null,
            ("OffsetForLeaderEpoch", "replica_id" | "current_leader_epoch") => Value::Default,
            ("DeleteRecords", "offset") => Int(1),
            _ => return None,
        })
    }

    fn classic_groups(&self, message: &str, field: &str) -> Option<Value> {
        Some(match (message, field) {
            ("OffsetCommit", "member_id" | "generation_id_or_member_epoch") => Value::Default,
            ("OffsetCommit" | "TxnOffsetCommit", "committed_offset") => Int(3),
            ("OffsetCommit" | "TxnOffsetCommit", "committed_metadata") => text("as far as here"),
            ("OffsetFetch", "member_id") => Null,
            ("OffsetFetch", "member_epoch") => Int(-1),
            ("FindCoordinator", "key" | "coordinator_keys") => text(&self.group),
            ("JoinGroup", "member_id") => Value::Default,
            ("JoinGroup" | "SyncGroup", "protocol_type") => text("consumer"),
            ("JoinGroup", "name") | ("SyncGroup", "protocol_name") => text("range"),
            ("JoinGroup", "metadata") => Bytes(SUBSCRIPTION.to_vec()),
            ("SyncGroup", "assignment") => Bytes(ASSIGNMENT.to_vec()),
            ("JoinGroup", "session_timeout_ms" | "rebalance_timeout_ms") => Int(6000),
            ("JoinGroup" | "SyncGroup" | "Heartbeat" | "LeaveGroup", "group_instance_id") => text("probe"),
            ("LeaveGroup" | "JoinGroup", "reason") => text("no more questions"),
            ("SyncGroup" | "Heartbeat" | "LeaveGroup", "member_id") => text(&self.member_id),
            ("SyncGroup" | "Heartbeat", "generation_id") => Int(self.generation.into()),
            ("ListGroups", "states_filter") => text("Empty"),
            ("ListGroups", "types_filter") => text("classic"),
            _ => return None,
        })
    }

    fn new_groups(&self, message: &str, field: &str) -> Option<Value> {
        Some(match (message, field) {
            ("ConsumerGroupHeartbeat", "group_id") => text("golden-probe-consumer"),
            ("ConsumerGroupDescribe", "group_ids") => text("golden-consumer"),
            ("ShareGroupDescribe", "group_ids") => text("golden-sharegroupheartbeat-v1"),
            ("StreamsGroupHeartbeat" | "StreamsGroupDescribe", "group_id" | "group_ids") => text("golden-streams"),
            ("ConsumerGroupHeartbeat" | "ShareGroupHeartbeat" | "StreamsGroupHeartbeat", "member_id")
            | ("ShareFetch" | "ShareAcknowledge", "member_id") => text(PROBE_MEMBER),
            ("ConsumerGroupHeartbeat", "subscribed_topic_regex") => Null,
            ("ConsumerGroupHeartbeat" | "StreamsGroupHeartbeat", "rebalance_timeout_ms") => Int(6000),
            ("ConsumerGroupHeartbeat", "topic_partitions") => Empty,
            ("ConsumerGroupHeartbeat" | "ShareGroupHeartbeat", "subscribed_topic_names") => text(Self::TOPIC),
            ("ConsumerGroupHeartbeat", "server_assignor") => text("uniform"),
            ("ConsumerGroupHeartbeat", "instance_id") => self.own("instance"),
            ("StreamsGroupHeartbeat", field) => return streams(field),
            ("ShareFetch", "max_wait_ms") => Int(2000),
            ("ShareFetch", "min_bytes") => Int(1),
            ("ShareFetch" | "ShareAcknowledge", "acknowledgement_batches") => Empty,
            ("ShareFetch", "max_records" | "batch_size") => Int(10),
            _ => return None,
        })
    }

    fn transactions(&self, message: &str, field: &str) -> Option<Value> {
        Some(match (message, field) {
            ("InitProducerId", "transaction_timeout_ms") => Int(10_000),
            ("InitProducerId", "producer_id" | "producer_epoch") => Value::Default,
            ("AddPartitionsToTxn", "verify_only") => Bool(true),
            ("EndTxn", "committed") => Bool(true),
            ("WriteTxnMarkers", "producer_id") => Int(77_777),
            ("TxnOffsetCommit", "generation_id" | "member_id" | "group_instance_id") => Value::Default,
            ("ListTransactions", "state_filters") => text("Ongoing"),
            ("ListTransactions", "producer_id_filters") => Empty,
            ("ListTransactions", "transactional_id_pattern") => text("golden.*"),
            _ => return None,
        })
    }

    fn topics(&self, message: &str, field: &str, spec: &FieldSpec) -> Option<Value> {
        Some(match (message, field) {
            ("CreateTopics", "num_partitions" | "replication_factor") => Int(1),
            ("CreateTopics", "assignments") => Empty,
            ("CreateTopics", "name") if spec.rule.entity == Some(Entity::TopicName) => self.own("golden-probe"),
            ("DeleteTopics", "name" | "topic_names") => self.own("golden-probe"),
            ("DeleteTopics", "topic_id") => Uuid([0; 16]),
            ("CreateTopics" | "AlterConfigs" | "IncrementalAlterConfigs", "name") => text("retention.ms"),
            ("CreateTopics" | "AlterConfigs" | "IncrementalAlterConfigs", "value") => text("-1"),
            ("DescribeConfigs", "configuration_keys") => text("retention.ms"),
            ("DescribeConfigs", "include_synonyms" | "include_documentation") => Bool(true),
            ("AlterReplicaLogDirs", "path") => text("/absent"),
            ("CreatePartitions", "count") => Int(i64::from(self.version) + 3),
            ("CreatePartitions", "assignments") => Null,
            ("ElectLeaders", "election_type") => Int(0),
            ("AlterPartitionReassignments", "replicas") => Null,
            ("DescribeTopicPartitions", "cursor") => Null,
            ("DescribeAcls" | "CreateAcls" | "DeleteAcls", _) => return None,
            (_, "resource_type") => Int(2),
            (_, "resource_name") => text(Self::TOPIC),
            _ => return None,
        })
    }

    fn security(&self, message: &str, field: &str) -> Option<Value> {
        Some(match (message, field) {
            ("SaslHandshake", "mechanism") => text("PLAIN"),
            ("SaslAuthenticate", "auth_bytes") => Bytes(self.sasl_bytes.clone()),
            ("DescribeAcls" | "CreateAcls" | "DeleteAcls", field) => return acl(message, field),
            ("CreateDelegationToken", "owner_principal_type" | "owner_principal_name") => Null,
            ("CreateDelegationToken", "max_lifetime_ms") => Int(3_600_000),
            ("DescribeDelegationToken", "owners") => Null,
            (_, "principal_type") => text("User"),
            (_, "principal_name") => text("alice"),
            (_, "hmac") => Bytes(self.hmac.clone()),
            (_, "entity_type") => text("user"),
            ("DescribeClientQuotas", "match_type") => Int(2),
            ("DescribeClientQuotas", "match") => Null,
            ("AlterClientQuotas", "entity_name") => text("golden-user"),
            ("AlterClientQuotas", "key") => text("producer_byte_rate"),
            ("AlterClientQuotas", "remove") => Bool(true),
            ("AlterUserScramCredentials", "name") => text("golden-absent"),
            ("AlterUserScramCredentials", "mechanism") => Int(1),
            ("AlterUserScramCredentials", "upsertions") => Empty,
            ("DescribeUserScramCredentials", "name") => text("alice"),
            _ => return None,
        })
    }

    /// What a field of this name is in every message.
    fn anywhere(&self, field: &str) -> Option<Value> {
        Some(match field {
            "partition_max_bytes" | "max_bytes" => Int(600),
            "replicas" | "broker_ids" | "broker_id" | "leader_id" | "voter_id" => Int(1),
            "host" => text("127.0.0.1"),
            "port" => Int(9),
            "cluster_id" => text(&self.cluster_id),
            "topic_id" => Uuid(self.topic_id),
            "topic_name" | "topic" => text(Self::TOPIC),
            "timeout_ms" => Int(5000),
            "producer_id" | "v3_and_below_producer_id" => Int(self.producer_id),
            "producer_epoch" | "v3_and_below_producer_epoch" => Int(self.producer_epoch.into()),
            "transactional_id" | "v3_and_below_transactional_id" => text(&self.transactional_id),
            "include_authorized_operations" | "include_topic_authorized_operations" => Bool(true),
            _ => return None,
        })
    }

    fn entity(&self, spec: &FieldSpec) -> Value {
        match spec.rule.entity {
            Some(Entity::TopicName) => text(Self::TOPIC),
            Some(Entity::GroupId) => text(&self.group),
            Some(Entity::TransactionalId) => text(&self.transactional_id),
            Some(Entity::BrokerId) => Int(1),
            _ => Value::Default,
        }
    }

    /// A name that no other version uses.
    fn own(&self, prefix: &str) -> Value {
        Text(format!("{prefix}-v{}", self.version))
    }
}

fn text(text: &str) -> Value {
    Text(text.to_string())
}

fn cluster(message: &str, field: &str) -> Option<Value> {
    Some(match (message, field) {
        ("ApiVersions", "client_software_name") => text("milena"),
        ("ApiVersions", "client_software_version") => text("0"),
        ("DescribeQuorum", "topic_name") => text("__cluster_metadata"),
        ("UpdateFeatures", "feature") => text("golden.version"),
        ("UpdateFeatures", "max_version_level" | "upgrade_type") => Int(1),
        ("UpdateFeatures", "validate_only") => Bool(true),
        ("DescribeCluster", "endpoint_type") => Int(1),
        ("UnregisterBroker", "broker_id") => Int(77),
        ("AddRaftVoter" | "RemoveRaftVoter" | "UpdateRaftVoter", "voter_id") => Int(77),
        ("ListConfigResources", "resource_types") => Int(2),
        _ => return None,
    })
}

fn acl(message: &str, field: &str) -> Option<Value> {
    Some(match field {
        "resource_type" | "resource_type_filter" => Int(2),
        "resource_name" | "resource_name_filter" => text("golden-acl"),
        "principal" => text("User:golden-user"),
        "host" => text("*"),
        "principal_filter" | "host_filter" => Null,
        "operation" | "permission_type" if message == "CreateAcls" => Int(3),
        "operation" | "permission_type" => Int(1),
        _ => Value::Default,
    })
}

fn streams(field: &str) -> Option<Value> {
    Some(match field {
        "active_tasks" | "standby_tasks" | "warmup_tasks" | "client_tags" => Empty,
        "task_offsets" | "task_end_offsets" | "user_endpoint" | "instance_id" | "rack_id" => Null,
        "state_changelog_topics" | "repartition_sink_topics" | "repartition_source_topics" => Empty,
        "copartition_groups" | "source_topic_regex" => Empty,
        "process_id" => text("process"),
        "subtopology_id" => text("subtopology"),
        "source_topics" => text(World::TOPIC),
        // Present, though its default is null.
        "topology" => Bool(true),
        _ => Value::Default,
    })
}

/// What the probes call themselves in groups where members choose their ids.
const PROBE_MEMBER: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// A batch of two records with headers, null and empty ones among them.
const BATCH: &str = "000000000000000000000090000000000277ad1da100000000000100000174876e800000000174876e800affffffffffffff\
    ffffffffffffff000000026c000000010a616c7068610418636f6e74656e742d74797065206170706c69636174696f6e2f6a736f6e1074726163\
    652d6964060001024e001402066b65790a627261766f0416656d7074792d76616c756500146e756c6c2d76616c756501";
/// The topic `golden`, version 0 of ConsumerProtocolSubscription.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x06golden\0\0\0\0";
/// Its first partition, version 0 of ConsumerProtocolAssignment.
const ASSIGNMENT: &[u8] = b"\0\0\0\0\0\x01\0\x06golden\0\0\0\x01\0\0\0\0\0\0\0\0";
