//! Metadata, CreateTopics and DeleteTopics.
//!
//! Rules this file keeps:
//! - metadata tells what is: a partition whose leader is down has none, and says so with its error code;
//! - a topic comes into being by CreateTopics only, unless the cluster was told to create what is asked for.

use std::sync::Arc;

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
        MetadataRequest, MetadataResponse, TopicName,
        create_topics_request::CreatableTopic,
        create_topics_response::CreatableTopicResult,
        delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Call, Serve};
use crate::embedded::{
    reply::{Body, Unanswered},
    topics::{NewTopic, Partition, Topic},
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
                topics.into_iter().map(|wanted| call.wanted_topic(wanted, create)).collect()
            }
            _ => call.shared.topics.all().iter().map(|topic| call.known_topic(topic)).collect(),
        };
        call.encode(&call.metadata_response(topics))
    }
}

impl Call {
    fn metadata_response(&self, topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
        let brokers = self.shared.alive().into_iter().map(|node| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node.id))
                .with_host(StrBytes::from_string(node.host))
                .with_port(node.port.into())
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
            let tried = self.shared.topics.create(self.new_topic(&name, -1, None), !create);
            if tried == Err(ResponseError::InvalidTopicException) {
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
        let alive: Vec<i32> = self.shared.alive().iter().map(|node| node.id).collect();
        let partitions =
            (0..).zip(&topic.partitions).map(|(index, partition)| self.partition(index, partition, &alive));
        MetadataResponseTopic::default().with_name(name).with_topic_id(topic.id).with_partitions(partitions.collect())
    }

    fn partition(&self, index: i32, partition: &Arc<Partition>, alive: &[i32]) -> MetadataResponsePartition {
        let leader = partition.leader();
        let replicas = vec![BrokerId(leader)];
        let response = MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_epoch(if self.version >= 7 { partition.leader_epoch() } else { -1 })
            .with_replica_nodes(replicas.clone())
            .with_isr_nodes(replicas.clone());
        if alive.contains(&leader) {
            return response.with_leader_id(BrokerId(leader));
        }
        response
            .with_error_code(ResponseError::LeaderNotAvailable.code())
            .with_leader_id(BrokerId(-1))
            .with_offline_replicas(if self.version >= 5 { replicas } else { Vec::new() })
    }

    /// A topic by the cluster's defaults, where the request has none of its own.
    fn new_topic(&self, name: &str, partitions: i32, max_message_bytes: Option<usize>) -> NewTopic {
        let partitions = if partitions == -1 { self.shared.settings.default_partitions } else { partitions };
        NewTopic { name: name.to_owned(), partitions, max_message_bytes }
    }
}

/// The name, unless the topic is asked for by its id (KIP-516). Java then sends an empty name, others a null.
fn by_name(wanted: &MetadataRequestTopic) -> Option<&TopicName> {
    wanted.name.as_ref().filter(|_| wanted.topic_id.is_nil())
}

fn failed_topic(name: Option<TopicName>, id: Uuid, code: i16) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code).with_name(name).with_topic_id(id)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

impl Serve for CreateTopicsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let topics = self.topics.into_iter().map(|wanted| call.create(wanted, self.validate_only));
        let response = CreateTopicsResponse::default().with_topics(topics.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Call {
    fn create(&self, wanted: CreatableTopic, dry: bool) -> CreatableTopicResult {
        let result = CreatableTopicResult::default().with_name(wanted.name.clone());
        let assigned = i32::try_from(wanted.assignments.len()).unwrap_or(i32::MAX);
        let partitions = if assigned > 0 { assigned } else { wanted.num_partitions };
        let setting = wanted.configs.iter().find(|config| config.name.as_str() == "max.message.bytes");
        let max_message_bytes = setting.and_then(|config| config.value.as_ref()?.parse().ok());
        let new = self.new_topic(&wanted.name, partitions, max_message_bytes);
        let count = new.partitions;
        match self.try_create(&wanted, new, dry) {
            Ok(id) if self.version >= 5 => {
                let result =
                    result.with_num_partitions(count).with_replication_factor(1).with_configs(Some(Vec::new()));
                if self.version >= 7 { result.with_topic_id(id) } else { result }
            }
            Ok(_) => result,
            Err(code) => result.with_error_code(code).with_num_partitions(-1).with_replication_factor(-1),
        }
    }

    fn try_create(&self, wanted: &CreatableTopic, new: NewTopic, dry: bool) -> Result<Uuid, i16> {
        if let Some(code) = self.forced(&wanted.name) {
            return Err(code);
        }
        let brokers = self.shared.settings.brokers;
        if wanted.replication_factor == 0 || i32::from(wanted.replication_factor) > brokers {
            return Err(ResponseError::InvalidReplicationFactor.code());
        }
        self.shared.topics.create(new, dry).map_err(|error| error.code())
    }
}

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
