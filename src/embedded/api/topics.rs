//! Metadata, CreateTopics and DeleteTopics.
//!
//! Rules this file keeps:
//! - metadata tells what is: a partition whose leader is down has none, and says so with its error code;
//! - a topic comes into being by CreateTopics only, unless the cluster was told to create what is asked for.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
        MetadataRequest, MetadataResponse, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
        delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Call, Serve, distinct};
use crate::embedded::{
    Node,
    configs::{Refused, Values},
    partition::Partition,
    reply::{Body, Unanswered},
    topics::{NewTopic, Placement, Topic},
};

impl Serve for MetadataRequest {
    fn names(&self, call: &Call, topic: &str) -> bool {
        let is = |wanted: &MetadataRequestTopic| match by_name(wanted) {
            Some(name) => name.as_str() == topic,
            None => call.shared.topics.by_id(&wanted.topic_id).is_some_and(|known| known.name == topic),
        };
        self.topics.as_ref().is_none_or(|topics| topics.iter().any(is))
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let create = self.allow_auto_topic_creation && call.shared.settings.auto_create_topics.is_some();
        let topics = match self.topics {
            // Version 0 has no null: there an empty list means all.
            Some(topics) if call.version > 0 || !topics.is_empty() => {
                let named = |wanted: &MetadataRequestTopic| (by_name(wanted).cloned(), wanted.topic_id);
                distinct(topics, named).map(|wanted| call.wanted_topic(wanted, create)).collect()
            }
            _ => call.shared.topics.all().iter().map(|topic| call.known_topic(topic)).collect(),
        };
        // KIP-430: whoever asks may do everything here.
        let mut response = call.metadata_response(topics);
        if self.include_topic_authorized_operations {
            let known = response.topics.iter_mut().filter(|topic| topic.error_code == 0);
            known.for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
        }
        if self.include_cluster_authorized_operations && call.version <= 10 {
            response.cluster_authorized_operations = CLUSTER_OPERATIONS;
        }
        // KIP-1102: the error of the answer as a whole, which only this code is.
        let is_sent_back = call.forced.as_ref().is_some_and(|forced| forced.code == REBOOTSTRAP_REQUIRED);
        if call.version >= 13 && is_sent_back {
            response.error_code = call.forced_code();
        }
        call.encode(&response)
    }
}

const REBOOTSTRAP_REQUIRED: i16 = 129;

impl Call {
    fn metadata_response(&self, topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
        let brokers = self.shared.alive().into_iter().map(|node| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node.id))
                .with_host(StrBytes::from_string(node.host))
                .with_port(node.port.into())
                .with_rack(node.rack.map(StrBytes::from_string))
        });
        let cluster_id = StrBytes::from_string(self.shared.cluster_id.clone());
        MetadataResponse::default()
            .with_throttle_time_ms(if self.version >= 3 { self.throttle_ms() } else { 0 })
            .with_brokers(brokers.collect())
            .with_cluster_id(Some(cluster_id).filter(|_| self.version >= 2))
            .with_controller_id(BrokerId(self.shared.controller()))
            .with_topics(topics)
    }

    fn wanted_topic(&self, wanted: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
        let Some(name) = by_name(&wanted).cloned() else {
            return match self.shared.topics.by_id(&wanted.topic_id) {
                Some(topic) => self.known_topic(&topic),
                // The name may be null from version 12 on (KIP-516).
                None => {
                    let name = Some(topic_name("")).filter(|_| self.version < 12);
                    failed_topic(name, wanted.topic_id, ResponseError::UnknownTopicId.code())
                }
            };
        };
        if self.shared.topics.by_name(&name).is_none() {
            // Tried even where nothing is to be made: a name that no topic can have is said to be one. Lost races show
            // in what follows.
            let tried = self.default_topic(&name).map(|new| self.shared.topics.create(new, !create));
            if let Ok(Err(ResponseError::InvalidTopicException)) = tried {
                return failed_topic(Some(name), Uuid::nil(), ResponseError::InvalidTopicException.code());
            }
        }
        match self.shared.topics.by_name(&name) {
            Some(topic) => self.known_topic(&topic),
            None => {
                let code = self.forced(&name).unwrap_or(ResponseError::UnknownTopicOrPartition.code());
                failed_topic(Some(name), Uuid::nil(), code)
            }
        }
    }

    fn known_topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let name = Some(topic_name(&topic.name));
        if let Some(code) = self.forced(&topic.name) {
            return failed_topic(name, topic.id, code);
        }
        let alive = self.alive();
        let partitions = (0..).zip(&topic.partitions).map(|(index, partition)| {
            let held = Held::of(partition, &alive);
            MetadataResponsePartition::default()
                .with_error_code(held.code)
                .with_partition_index(index)
                .with_leader_id(held.leader)
                .with_leader_epoch(if self.version >= 7 { held.epoch } else { -1 })
                .with_replica_nodes(held.replicas)
                .with_isr_nodes(held.in_sync)
                .with_offline_replicas(if self.version >= 5 { held.offline } else { Vec::new() })
        });
        MetadataResponseTopic::default()
            .with_name(name)
            .with_topic_id(topic.id)
            .with_is_internal(self.version >= 1 && topic.is_internal())
            .with_partitions(partitions.collect())
    }

    /// The ids of the brokers that live.
    pub(super) fn alive(&self) -> Vec<i32> {
        self.shared.alive().iter().map(|node| node.id).collect()
    }

    /// The leader of a partition, −1 without one, and its epoch.
    pub(super) fn leader_of(&self, topic: &Topic, index: i32) -> Option<(BrokerId, i32)> {
        let held = Held::of(topic.partition(index)?, &self.alive());
        Some((held.leader, held.epoch))
    }

    /// The same, if the leader is not this broker.
    pub(super) fn leader_elsewhere(&self, topic: &Topic, index: i32) -> Option<(BrokerId, i32)> {
        let elsewhere = topic.partition(index)?.leader() != self.broker;
        if elsewhere { self.leader_of(topic, index) } else { None }
    }

    /// Where these brokers are, each once.
    pub(super) fn endpoints(&self, ids: impl Iterator<Item = BrokerId>) -> impl Iterator<Item = Node> {
        let ids: BTreeSet<BrokerId> = ids.filter(|id| id.0 >= 0).collect();
        let alive = if ids.is_empty() { Vec::new() } else { self.shared.alive() };
        alive.into_iter().filter(move |node| ids.contains(&BrokerId(node.id)))
    }

    /// A topic by the cluster's defaults, where the request has nothing of its own.
    fn default_topic(&self, name: &str) -> Result<NewTopic, Refusal> {
        let settings = &self.shared.settings;
        let config = self.shared.topics.config(Values::new())?;
        let replicas = Placement::Spread(settings.replication_factor);
        Ok(NewTopic { name: name.to_owned(), partitions: settings.default_partitions, replicas, config })
    }
}

/// What is told of a partition's brokers.
pub(super) struct Held {
    pub(super) code: i16,
    pub(super) leader: BrokerId,
    pub(super) epoch: i32,
    pub(super) replicas: Vec<BrokerId>,
    pub(super) in_sync: Vec<BrokerId>,
    pub(super) offline: Vec<BrokerId>,
}

impl Held {
    pub(super) fn of(partition: &Partition, alive: &[i32]) -> Self {
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        let (leader, epoch, replicas) = (partition.leader(), partition.leader_epoch(), partition.replicas());
        let led = alive.contains(&leader);
        let offline: Vec<i32> = replicas.assigned.iter().copied().filter(|id| !alive.contains(id)).collect();
        Self {
            code: if led { 0 } else { ResponseError::LeaderNotAvailable.code() },
            leader: BrokerId(if led { leader } else { -1 }),
            epoch,
            replicas: ids(&replicas.assigned),
            in_sync: ids(&replicas.in_sync),
            offline: ids(&offline),
        }
    }
}

/// Bits 3 to 8, 10 and 11: read, write, create, delete, alter, describe, and both for configs.
pub(super) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Bits 5 and 7 to 12: create, alter, describe, cluster action, both for configs, idempotent write.
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// The name, unless the topic is asked for by its id (KIP-516). Java then sends an empty name, others a null.
fn by_name(wanted: &MetadataRequestTopic) -> Option<&TopicName> {
    wanted.name.as_ref().filter(|_| wanted.topic_id.is_nil())
}

fn failed_topic(name: Option<TopicName>, id: Uuid, code: i16) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code).with_name(name).with_topic_id(id)
}

pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

impl Serve for CreateTopicsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let mut named: BTreeMap<TopicName, usize> = BTreeMap::new();
        self.topics.iter().for_each(|wanted| *named.entry(wanted.name.clone()).or_default() += 1);
        let topics = self.topics.into_iter().map(|wanted| match named.get(&wanted.name) {
            Some(1) => call.create(wanted, self.validate_only),
            _ => CreatableTopicResult::default()
                .with_name(wanted.name)
                .with_error_code(ResponseError::InvalidRequest.code())
                .with_error_message(Some(StrBytes::from_static_str("Duplicate topic name."))),
        });
        let response = CreateTopicsResponse::default().with_topics(topics.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

/// Why something is refused: an error code, and in words if there are any.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: i16,
    pub(super) message: Option<StrBytes>,
}

impl Refusal {
    pub(super) fn new(error: ResponseError, message: impl Into<String>) -> Self {
        Self { code: error.code(), message: Some(StrBytes::from_string(message.into())) }
    }
}

impl From<ResponseError> for Refusal {
    fn from(error: ResponseError) -> Self {
        Self { code: error.code(), message: None }
    }
}

impl From<Refused> for Refusal {
    fn from(Refused(why): Refused) -> Self {
        Self::new(ResponseError::InvalidConfig, why)
    }
}

impl Call {
    fn create(&self, wanted: CreatableTopic, dry: bool) -> CreatableTopicResult {
        let result = CreatableTopicResult::default().with_name(wanted.name.clone()).with_error_message(None);
        match self.try_create(&wanted, dry) {
            Ok((id, new)) if self.version >= 5 => {
                let factor = match &new.replicas {
                    Placement::Spread(factor) => *factor,
                    Placement::Assigned(each) => each.first().map_or(0, |ids| i16::try_from(ids.len()).unwrap_or(0)),
                };
                let settings = self.settings_of(&new.config).into_iter().map(|setting| {
                    CreatableTopicConfigs::default()
                        .with_name(StrBytes::from_static_str(setting.definition.name))
                        .with_value(Some(StrBytes::from_string(setting.value)))
                        .with_config_source(setting.source)
                });
                let result = result
                    .with_num_partitions(new.partitions)
                    .with_replication_factor(factor)
                    .with_configs(Some(settings.collect()));
                if self.version >= 7 { result.with_topic_id(id) } else { result }
            }
            Ok(_) => result,
            Err(Refusal { code, message }) => result
                .with_error_code(code)
                .with_error_message(message)
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        }
    }

    fn try_create(&self, wanted: &CreatableTopic, dry: bool) -> Result<(Uuid, NewTopic), Refusal> {
        if let Some(code) = self.forced(&wanted.name) {
            return Err(Refusal { code, message: None });
        }
        let mut new = self.default_topic(&wanted.name)?;
        if !wanted.assignments.is_empty() {
            new.partitions = i32::try_from(wanted.assignments.len()).unwrap_or(i32::MAX);
            new.replicas = Placement::Assigned(self.assigned(wanted)?);
        } else {
            let brokers = self.shared.settings.brokers;
            match wanted.replication_factor {
                -1 => {}
                factor if (1..=brokers).contains(&factor.into()) => new.replicas = Placement::Spread(factor),
                factor => {
                    let why = format!("{factor} replicas are not for {brokers} brokers");
                    return Err(Refusal::new(ResponseError::InvalidReplicationFactor, why));
                }
            }
            if wanted.num_partitions != -1 {
                new.partitions = wanted.num_partitions;
            }
        }
        new.config = self.shared.topics.config(own_values(wanted)?)?;
        let id = self.shared.topics.create(new.clone(), dry)?;
        Ok((id, new))
    }

    /// The brokers that the request itself assigns.
    fn assigned(&self, wanted: &CreatableTopic) -> Result<Vec<Vec<i32>>, Refusal> {
        if wanted.num_partitions != -1 || wanted.replication_factor != -1 {
            let why = "a manual assignment tells the number of partitions and replicas";
            return Err(Refusal::new(ResponseError::InvalidRequest, why));
        }
        let mut each: Vec<_> = wanted.assignments.iter().collect();
        each.sort_by_key(|assignment| assignment.partition_index);
        let in_order = each.iter().zip(0..).all(|(assignment, index)| assignment.partition_index == index);
        let each: Vec<Vec<i32>> = each.iter().map(|it| it.broker_ids.iter().map(|id| id.0).collect()).collect();
        let factor = each.first().map_or(0, Vec::len);
        if in_order { self.check_assigned(&each, factor).map(|()| each) } else { Err(UNASSIGNABLE.into()) }
    }

    /// Whether each of these partitions can be held by so many brokers.
    pub(super) fn check_assigned(&self, each: &[Vec<i32>], factor: usize) -> Result<(), Refusal> {
        let known = 0..self.shared.settings.brokers;
        let sound = |ids: &Vec<i32>| {
            let distinct: BTreeSet<&i32> = ids.iter().collect();
            distinct.len() == ids.len() && ids.len() == factor && factor > 0 && ids.iter().all(|id| known.contains(id))
        };
        if each.iter().all(sound) { Ok(()) } else { Err(UNASSIGNABLE.into()) }
    }
}

/// The settings that the request has for a topic.
fn own_values(wanted: &CreatableTopic) -> Result<Values, Refusal> {
    let value = |config: &CreatableTopicConfig| match &config.value {
        Some(value) => Ok((config.name.to_string(), value.to_string())),
        None => Err(Refusal::new(ResponseError::InvalidConfig, format!("{} has no value", config.name))),
    };
    wanted.configs.iter().map(value).collect()
}

const UNASSIGNABLE: ResponseError = ResponseError::InvalidReplicaAssignment;

impl Serve for DeleteTopicsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        let is = |state: &DeleteTopicState| state.name.as_ref().is_some_and(|name| name.as_str() == topic);
        self.topic_names.iter().any(|name| name.as_str() == topic) || self.topics.iter().any(is)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let named = self.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
        let responses = named.chain(self.topics).map(|wanted| call.delete(wanted));
        let response = DeleteTopicsResponse::default().with_responses(responses.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Call {
    fn delete(&self, wanted: DeleteTopicState) -> DeletableTopicResult {
        let topic = match &wanted.name {
            Some(name) => self.shared.topics.by_name(name).ok_or(ResponseError::UnknownTopicOrPartition),
            None => self.shared.topics.by_id(&wanted.topic_id).ok_or(ResponseError::UnknownTopicId),
        };
        let deleted = topic.map_err(|error| error.code()).and_then(|topic| match self.forced(&topic.name) {
            Some(code) => Err(code),
            None => self.shared.topics.delete(&topic.name).map(|()| topic).map_err(|error| error.code()),
        });
        let result = DeletableTopicResult::default();
        match deleted {
            Ok(topic) => {
                self.shared.groups.delete_topic(&topic.name);
                let id = if self.version >= 6 { topic.id } else { Uuid::nil() };
                result.with_name(Some(topic_name(&topic.name))).with_topic_id(id)
            }
            Err(code) => result.with_name(wanted.name).with_topic_id(wanted.topic_id).with_error_code(code),
        }
    }
}
