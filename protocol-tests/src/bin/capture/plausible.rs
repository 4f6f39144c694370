//! A request for every version of every API, written from the tables: what the Java client would not send.
//!
//! Rules this file keeps:
//! - a field is its default, an array has one element, unless [`World::say`] says otherwise;
//! - a tagged field is written only where something is said of it;
//! - the bytes are written here and not by milena's codec, so that a broker's answer judges the tables alone.

use milena::wire::{Entity, FieldSpec, Kind, Table};
use protocol_tests::golden;

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

/// The body of a request.
pub(crate) fn body(table: &Table, version: i16, world: &World) -> Vec<u8> {
    let message = table.name.trim_end_matches("Request");
    let mut out = Out { message, version, flexible: version >= table.flexible_from, world, bytes: Vec::new() };
    out.structure(table.fields);
    out.bytes
}

impl World {
    /// The topic that every step uses.
    pub(crate) const TOPIC: &str = "golden";

    fn say(&self, message: &str, spec: &FieldSpec) -> Value {
        use Value::*;
        let text = |text: &str| Text(text.to_string());
        let own = |prefix: &str| Text(format!("{prefix}-v{}", self.version));
        match (message, spec.name.trim_start_matches("r#")) {
            ("Produce", "transactional_id") => Null,
            ("Produce", "acks") => Int(-1),
            ("Produce" | "WriteTxnMarkers", "records") => Bytes(golden::unhex(BATCH).unwrap_or_default()),
            ("Fetch", "session_epoch" | "cluster_id" | "replica_id") => Default,
            ("Fetch" | "ShareFetch", "forgotten_topics_data") => Empty,
            ("Fetch", "max_wait_ms") => Int(100),
            (_, "partition_max_bytes" | "max_bytes") => Int(600),
            ("Fetch", "fetch_offset") => Int(5),
            ("ListOffsets", "replica_id") => Int(-1),
            ("ListOffsets", "timestamp") => Int(-2),
            ("Metadata", "topic_id") if self.version < 12 => Uuid([0; 16]),
            ("Metadata", "name") if self.version >= 12 => Null,
            ("OffsetCommit", "member_id" | "generation_id_or_member_epoch") => Default,
            ("OffsetCommit" | "TxnOffsetCommit", "committed_offset") => Int(3),
            ("OffsetCommit" | "TxnOffsetCommit", "committed_metadata") => text("as far as here"),
            ("OffsetFetch", "member_id") => Null,
            ("OffsetFetch", "member_epoch") => Int(-1),
            ("FindCoordinator", "key" | "coordinator_keys") => Text(self.group.clone()),
            ("JoinGroup", "member_id") => Default,
            ("JoinGroup" | "SyncGroup", "protocol_type") => text("consumer"),
            ("JoinGroup", "name") | ("SyncGroup", "protocol_name") => text("range"),
            ("JoinGroup", "metadata") => Bytes(SUBSCRIPTION.to_vec()),
            ("SyncGroup", "assignment") => Bytes(ASSIGNMENT.to_vec()),
            ("JoinGroup", "session_timeout_ms" | "rebalance_timeout_ms") => Int(6000),
            ("JoinGroup" | "SyncGroup" | "Heartbeat" | "LeaveGroup", "group_instance_id") => text("probe"),
            ("LeaveGroup" | "JoinGroup", "reason") => text("no more questions"),
            ("SyncGroup" | "Heartbeat" | "LeaveGroup", "member_id") => Text(self.member_id.clone()),
            ("SyncGroup" | "Heartbeat", "generation_id") => Int(self.generation.into()),
            ("ListGroups", "states_filter") => text("Empty"),
            ("ListGroups", "types_filter") => text("classic"),
            ("SaslHandshake", "mechanism") => text("PLAIN"),
            ("SaslAuthenticate", "auth_bytes") => Bytes(self.sasl_bytes.clone()),
            ("ApiVersions", "client_software_name") => text("milena"),
            ("ApiVersions", "client_software_version") => text("0"),
            ("CreateTopics", "num_partitions" | "replication_factor") => Int(1),
            ("CreateTopics", "assignments") => Empty,
            ("CreateTopics" | "AlterConfigs" | "IncrementalAlterConfigs", "configs") => Default,
            ("CreateTopics", "name") if is_entity(spec, Entity::TopicName) => own("golden-probe"),
            ("CreateTopics" | "AlterConfigs" | "IncrementalAlterConfigs", "name") => text("retention.ms"),
            ("CreateTopics" | "AlterConfigs" | "IncrementalAlterConfigs", "value") => text("-1"),
            ("DeleteTopics", "name" | "topic_names") => own("golden-probe"),
            ("DeleteTopics", "topic_id") => Uuid([0; 16]),
            ("DeleteRecords", "offset") => Int(1),
            ("InitProducerId", "transaction_timeout_ms") => Int(10_000),
            ("InitProducerId", "producer_id" | "producer_epoch" | "enable2_pc" | "keep_prepared_txn") => Default,
            ("OffsetForLeaderEpoch", "replica_id" | "current_leader_epoch") => Default,
            ("AddPartitionsToTxn", "verify_only") => Bool(true),
            ("EndTxn", "committed") => Bool(true),
            ("WriteTxnMarkers", "producer_id") => Int(77_777),
            ("TxnOffsetCommit", "generation_id" | "member_id" | "group_instance_id") => Default,
            ("DescribeAcls" | "CreateAcls" | "DeleteAcls", name) => self.acl(message, name),
            (_, "resource_type") => Int(2),
            (_, "resource_name") => text(World::TOPIC),
            ("DescribeConfigs", "configuration_keys") => text("retention.ms"),
            ("DescribeConfigs", "include_synonyms" | "include_documentation") => Bool(true),
            ("AlterReplicaLogDirs", "path") => text("/absent"),
            ("CreatePartitions", "count") => Int(i64::from(self.version) + 3),
            ("CreatePartitions" | "DescribeClientQuotas", "assignments" | "match") => Null,
            ("CreateDelegationToken", "owner_principal_type" | "owner_principal_name") => Null,
            ("DescribeDelegationToken", "owners") => Null,
            (_, "principal_type") => text("User"),
            (_, "principal_name") => text("alice"),
            ("CreateDelegationToken", "max_lifetime_ms") => Int(3_600_000),
            (_, "hmac") => Bytes(self.hmac.clone()),
            (_, "entity_type") => text("user"),
            ("DescribeClientQuotas", "match_type") => Int(2),
            ("AlterClientQuotas", "entity_name") => text("golden-user"),
            ("AlterClientQuotas", "key") => text("producer_byte_rate"),
            ("AlterClientQuotas", "remove") => Bool(true),
            ("AlterUserScramCredentials", "name") => text("golden-absent"),
            ("AlterUserScramCredentials", "mechanism") => Int(1),
            ("AlterUserScramCredentials", "upsertions") => Empty,
            ("DescribeUserScramCredentials", "name") => text("alice"),
            ("ElectLeaders", "election_type") => Int(0),
            ("AlterPartitionReassignments", "replicas") => Null,
            (
                "DescribeQuorum" | "Vote" | "BeginQuorumEpoch" | "EndQuorumEpoch" | "FetchSnapshot",
                "topic_name" | "name",
            ) => text("__cluster_metadata"),
            ("UpdateFeatures", "feature") => text("golden.version"),
            ("UpdateFeatures", "max_version_level" | "upgrade_type") => Int(1),
            ("UpdateFeatures", "validate_only") => Bool(true),
            ("DescribeCluster", "endpoint_type") => Int(1),
            ("BrokerRegistration" | "UnregisterBroker" | "ControllerRegistration", "broker_id" | "controller_id") => {
                Int(77)
            }
            ("AddRaftVoter" | "RemoveRaftVoter" | "UpdateRaftVoter", "voter_id") => Int(77),
            (_, "replicas" | "broker_ids" | "broker_id" | "leader_id" | "voter_id") => Int(1),
            (_, "port") => Int(9),
            (_, "host") => text("127.0.0.1"),
            ("ListTransactions", "state_filters") => text("Ongoing"),
            ("ListTransactions", "producer_id_filters") => Empty,
            ("ListTransactions", "duration_filter") => Int(-1),
            ("ListTransactions", "transactional_id_pattern") => text("golden.*"),
            ("ListConfigResources", "resource_types") => Int(2),
            ("DescribeTopicPartitions", "cursor") => Null,
            ("ConsumerGroupHeartbeat", "group_id") => text("golden-probe-consumer"),
            ("ConsumerGroupDescribe", "group_ids") => text("golden-consumer"),
            ("ShareGroupDescribe", "group_ids") => text("golden-sharegroupheartbeat-v1"),
            ("StreamsGroupHeartbeat" | "StreamsGroupDescribe", "group_id" | "group_ids") => text("golden-streams"),
            ("ConsumerGroupHeartbeat" | "ShareGroupHeartbeat" | "StreamsGroupHeartbeat", "member_id") => {
                text(PROBE_MEMBER)
            }
            ("ConsumerGroupHeartbeat", "subscribed_topic_regex") => Null,
            ("ConsumerGroupHeartbeat" | "ShareGroupHeartbeat", "rebalance_timeout_ms") => Int(6000),
            ("ConsumerGroupHeartbeat", "topic_partitions") => Empty,
            ("ConsumerGroupHeartbeat" | "ShareGroupHeartbeat", "subscribed_topic_names") => text(World::TOPIC),
            ("ConsumerGroupHeartbeat", "server_assignor") => text("uniform"),
            ("ConsumerGroupHeartbeat", "instance_id") => own("instance"),
            ("StreamsGroupHeartbeat", name) => self.streams(name),
            ("ShareFetch" | "ShareAcknowledge", "member_id") => text(PROBE_MEMBER),
            ("ShareFetch", "max_wait_ms") => Int(2000),
            ("ShareFetch", "min_bytes") => Int(1),
            ("ShareFetch" | "ShareAcknowledge", "acknowledgement_batches") => Empty,
            ("ShareFetch", "max_records" | "batch_size") => Int(10),
            (_, "cluster_id") => Text(self.cluster_id.clone()),
            (_, "topic_id") => Uuid(self.topic_id),
            (_, "topic_name" | "topic") => text(World::TOPIC),
            (_, "timeout_ms") => Int(5000),
            (_, "producer_id" | "v3_and_below_producer_id") => Int(self.producer_id),
            (_, "producer_epoch" | "v3_and_below_producer_epoch") => Int(self.producer_epoch.into()),
            (_, "include_authorized_operations" | "include_topic_authorized_operations") => Bool(true),
            (_, "transactional_id" | "v3_and_below_transactional_id") => Text(self.transactional_id.clone()),
            _ => self.entity(spec),
        }
    }

    fn entity(&self, spec: &FieldSpec) -> Value {
        match spec.rule.entity {
            Some(Entity::TopicName) => Value::Text(Self::TOPIC.into()),
            Some(Entity::GroupId) => Value::Text(self.group.clone()),
            Some(Entity::TransactionalId) => Value::Text(self.transactional_id.clone()),
            Some(Entity::BrokerId) => Value::Int(1),
            _ => Value::Default,
        }
    }

    fn acl(&self, message: &str, name: &str) -> Value {
        use Value::*;
        match name {
            "resource_type" | "resource_type_filter" => Int(2),
            "resource_name" | "resource_name_filter" => Text("golden-acl".into()),
            "principal" => Text("User:golden-user".into()),
            "host" => Text("*".into()),
            "principal_filter" | "host_filter" => Null,
            "operation" if message == "CreateAcls" => Int(3),
            "operation" => Int(1),
            "permission_type" if message == "CreateAcls" => Int(3),
            "permission_type" => Int(1),
            _ => Default,
        }
    }

    fn streams(&self, name: &str) -> Value {
        use Value::*;
        match name {
            "active_tasks" | "standby_tasks" | "warmup_tasks" | "client_tags" => Empty,
            "task_offsets" | "task_end_offsets" | "user_endpoint" | "instance_id" | "rack_id" => Null,
            "state_changelog_topics" | "repartition_sink_topics" | "repartition_source_topics" => Empty,
            "copartition_groups" | "source_topic_regex" => Empty,
            "rebalance_timeout_ms" => Int(6000),
            "process_id" => Text("process".into()),
            "subtopology_id" => Text("subtopology".into()),
            "source_topics" => Text(Self::TOPIC.into()),
            // Present, though its default is null.
            "topology" => Bool(true),
            _ => Default,
        }
    }
}

fn is_entity(spec: &FieldSpec, entity: Entity) -> bool {
    spec.rule.entity == Some(entity)
}

struct Out<'a> {
    message: &'a str,
    version: i16,
    flexible: bool,
    world: &'a World,
    bytes: Vec<u8>,
}

impl Out<'_> {
    fn structure(&mut self, fields: &[FieldSpec]) {
        let version = self.version;
        let here = fields.iter().filter(|field| (field.rule.first..=field.rule.last).contains(&version));
        let is_tagged = |field: &FieldSpec| field.rule.tag.is_some() && version >= field.rule.tagged_from;
        for field in here.filter(|field| !is_tagged(field)) {
            let value = self.world.say(self.message, field);
            self.field(field, &value);
        }
        if self.flexible {
            self.uvarint(0);
        }
    }

    fn field(&mut self, field: &FieldSpec, value: &Value) {
        let nullable = self.version >= field.rule.nullable_from;
        let default = (field.default)();
        let null = match value {
            Value::Null => true,
            Value::Default => default == "None",
            _ => false,
        };
        if nullable && null {
            return self.null(&field.kind);
        }
        if nullable && matches!(field.kind, Kind::Struct { .. }) {
            self.bytes.push(1);
        }
        self.some(&field.kind, value, &default);
    }

    fn null(&mut self, kind: &Kind) {
        match kind {
            Kind::Struct { .. } => self.bytes.push(0xff),
            _ if self.flexible => self.bytes.push(0),
            Kind::String => self.bytes.extend((-1i16).to_be_bytes()),
            _ => self.bytes.extend((-1i32).to_be_bytes()),
        }
    }

    fn some(&mut self, kind: &Kind, value: &Value, default: &str) {
        match kind {
            Kind::Bool => self.bytes.push(u8::from(match value {
                Value::Bool(value) => *value,
                _ => default == "true",
            })),
            Kind::Int8 => self.integer(1, value, default),
            Kind::Int16 | Kind::Uint16 => self.integer(2, value, default),
            Kind::Int32 | Kind::Uint32 => self.integer(4, value, default),
            Kind::Int64 => self.integer(8, value, default),
            Kind::Float64 => self.bytes.extend(1e6f64.to_be_bytes()),
            Kind::Uuid => self.bytes.extend(match value {
                Value::Uuid(uuid) => *uuid,
                _ => [0; 16],
            }),
            Kind::String => {
                let text = match value {
                    Value::Text(text) => text.as_bytes().to_vec(),
                    _ => Vec::new(),
                };
                self.length(text.len(), true);
                self.bytes.extend(text);
            }
            Kind::Bytes | Kind::Records => {
                let bytes = match value {
                    Value::Bytes(bytes) => bytes.clone(),
                    _ => Vec::new(),
                };
                self.length(bytes.len(), false);
                self.bytes.extend(bytes);
            }
            Kind::Array { of } => {
                let count = usize::from(!matches!(value, Value::Empty));
                self.length(count, false);
                (0..count).for_each(|_| self.some(of, value, ""));
            }
            Kind::Struct { fields, .. } => self.structure(fields),
        }
    }

    fn integer(&mut self, width: usize, value: &Value, default: &str) {
        let number = match value {
            Value::Int(number) => *number,
            _ => default.parse().unwrap_or(0),
        };
        self.bytes.extend(&number.to_be_bytes()[8 - width..]);
    }

    fn length(&mut self, length: usize, short: bool) {
        match (self.flexible, short) {
            (true, _) => self.uvarint(length as u64 + 1),
            (false, true) => self.bytes.extend((length as u16).to_be_bytes()),
            (false, false) => self.bytes.extend((length as u32).to_be_bytes()),
        }
    }

    fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
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
