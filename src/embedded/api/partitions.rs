//! What is done to partitions and told about them: CreatePartitions, DeleteRecords, ElectLeaders,
//! DescribeTopicPartitions, DescribeLogDirs.
//!
//! Rules this file keeps: each topic and partition of a request is judged by itself.

use std::collections::BTreeSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
        DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeTopicPartitionsRequest,
        DescribeTopicPartitionsResponse, ElectLeadersRequest, ElectLeadersResponse,
        create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
        delete_records_request::DeleteRecordsPartition,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
        describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
    protocol::StrBytes,
};

use super::{
    Call, Serve,
    topics::{Held, Refusal, TOPIC_OPERATIONS, topic_name},
};
use crate::embedded::{
    reply::{Body, Unanswered},
    topics::{Placement, Topic},
};

impl Serve for CreatePartitionsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let results = self.topics.into_iter().map(|wanted| {
            let result = CreatePartitionsTopicResult::default().with_error_message(None);
            match call.create_partitions(&wanted, self.validate_only) {
                Ok(()) => result.with_name(wanted.name),
                Err(Refusal { code, message }) => {
                    result.with_name(wanted.name).with_error_code(code).with_error_message(message)
                }
            }
        });
        let response = CreatePartitionsResponse::default().with_results(results.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Call {
    fn create_partitions(&self, wanted: &CreatePartitionsTopic, dry: bool) -> Result<(), Refusal> {
        if let Some(code) = self.forced(&wanted.name) {
            return Err(Refusal { code, message: None });
        }
        let topic = self.shared.topics.by_name(&wanted.name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let now = topic.partitions.len();
        let added = usize::try_from(wanted.count).unwrap_or_default().saturating_sub(now);
        if added == 0 {
            let why = format!("topic {} has {now} partitions; {} is no more", topic.name, wanted.count);
            return Err(Refusal::new(ResponseError::InvalidPartitions, why));
        }
        let factor = topic.partitions.first().map_or(1, |partition| partition.replicas().assigned.len());
        let replicas = match &wanted.assignments {
            None => Placement::Spread(i16::try_from(factor).unwrap_or(i16::MAX)),
            Some(each) => {
                let each: Vec<Vec<i32>> = each.iter().map(|it| it.broker_ids.iter().map(|id| id.0).collect()).collect();
                if each.len() != added {
                    return Err(ResponseError::InvalidReplicaAssignment.into());
                }
                self.check_assigned(&each, factor)?;
                Placement::Assigned(each)
            }
        };
        Ok(self.shared.topics.grow(&wanted.name, wanted.count, replicas, dry)?)
    }
}

impl Serve for DeleteRecordsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let result = DeleteRecordsPartitionResult::default().with_partition_index(wanted.partition_index);
                match call.delete_records(&topic.name, wanted) {
                    Ok(start) => result.with_low_watermark(start),
                    Err(code) => result.with_low_watermark(-1).with_error_code(code),
                }
            });
            let partitions = partitions.collect();
            DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
        });
        let response = DeleteRecordsResponse::default().with_topics(topics.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Call {
    /// Where the log starts afterwards.
    fn delete_records(&self, topic: &str, wanted: &DeleteRecordsPartition) -> Result<i64, i16> {
        if let Some(code) = self.forced(topic) {
            return Err(code);
        }
        let topic = self.shared.topics.by_name(topic);
        let partition = topic.as_ref().and_then(|topic| topic.partition(wanted.partition_index));
        let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition.code())?;
        partition.check_leader(self.broker, -1).map_err(|error| error.code())?;
        if topic.as_ref().is_some_and(|topic| !topic.configs.current().delete) {
            return Err(ResponseError::PolicyViolation.code());
        }
        self.shared.topics.take(partition, |log| match log.delete_before(wanted.offset) {
            Ok(freed) => (freed, Ok(log.start_offset())),
            Err(error) => (0, Err(error.code())),
        })
    }
}

impl Serve for ElectLeadersRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topic_partitions.as_ref().is_none_or(|topics| topics.iter().any(|wanted| wanted.topic.as_str() == topic))
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let unclean = self.election_type == 1; // KIP-460
        let results: Vec<_> = match self.topic_partitions {
            Some(topics) => {
                let one = |wanted: kafka_protocol::messages::elect_leaders_request::TopicPartitions| {
                    let known = call.shared.topics.by_name(&wanted.topic);
                    let results = wanted.partitions.iter().map(|index| call.elect(known.as_deref(), *index, unclean));
                    elected(&wanted.topic, results.collect())
                };
                topics.into_iter().map(one).collect()
            }
            // Of all partitions only those are told where there was something to do.
            None => {
                let one = |topic: &Topic| {
                    let indexes = 0..i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                    let results = indexes.map(|index| call.elect(Some(topic), index, unclean));
                    let told = results.filter(|it| it.error_code != ResponseError::ElectionNotNeeded.code());
                    elected(&topic.name, told.collect())
                };
                let all = call.shared.topics.all();
                all.iter().map(|topic| one(topic)).filter(|topic| !topic.partition_result.is_empty()).collect()
            }
        };
        let response = ElectLeadersResponse::default()
            .with_error_code(if call.version >= 1 { call.forced_code() } else { 0 })
            .with_replica_election_results(results);
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

fn elected(topic: &str, results: Vec<PartitionResult>) -> ReplicaElectionResult {
    ReplicaElectionResult::default().with_topic(topic_name(topic)).with_partition_result(results)
}

impl Call {
    fn elect(&self, topic: Option<&Topic>, index: i32, unclean: bool) -> PartitionResult {
        let partition = topic.and_then(|topic| topic.partition(index)).ok_or(ResponseError::UnknownTopicOrPartition);
        let forced = topic.and_then(|topic| self.forced(&topic.name));
        let done = match forced {
            Some(code) => Err(code),
            None => partition.and_then(|it| it.elect(unclean, &self.alive())).map_err(|error| error.code()),
        };
        let result = PartitionResult::default().with_partition_id(index).with_error_message(None);
        result.with_error_code(done.err().unwrap_or(0))
    }
}

impl Serve for DescribeTopicPartitionsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|wanted| wanted.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        // Ordered by name, each once; all of them if none is named (KIP-966).
        let mut names: BTreeSet<String> = self.topics.iter().map(|topic| topic.name.to_string()).collect();
        if names.is_empty() {
            names = call.shared.topics.all().iter().map(|topic| topic.name.clone()).collect();
        }
        let (mut topics, mut next_cursor) = (Vec::new(), None);
        let mut left = usize::try_from(self.response_partition_limit).unwrap_or(1).clamp(1, MOST_DESCRIBED);
        let (first_topic, first_index) = match &self.cursor {
            Some(cursor) => (cursor.topic_name.to_string(), usize::try_from(cursor.partition_index).unwrap_or(0)),
            None => (String::new(), 0),
        };
        for name in names.range(first_topic.clone()..) {
            let from = if *name == first_topic { first_index } else { 0 };
            if left == 0 {
                next_cursor = Some(Cursor::default().with_topic_name(topic_name(name)).with_partition_index(0));
                break;
            }
            let (topic, more) = call.described(name, from, left);
            left -= topic.partitions.len().min(left);
            topics.push(topic);
            if let Some(index) = more {
                next_cursor = Some(Cursor::default().with_topic_name(topic_name(name)).with_partition_index(index));
                break;
            }
        }
        let response = DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(next_cursor);
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Call {
    /// So many partitions of a topic from one on, and which one comes next, if any is left.
    fn described(&self, name: &str, from: usize, most: usize) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
        let response = DescribeTopicPartitionsResponseTopic::default().with_name(Some(topic_name(name)));
        let topic = match (self.forced(name), self.shared.topics.by_name(name)) {
            (Some(code), _) => return (response.with_error_code(code), None),
            (None, None) => return (response.with_error_code(ResponseError::UnknownTopicOrPartition.code()), None),
            (None, Some(topic)) => topic,
        };
        let alive = self.alive();
        let partitions = (0..).zip(&topic.partitions).skip(from).take(most).map(|(index, partition)| {
            let held = Held::of(partition, &alive);
            DescribeTopicPartitionsResponsePartition::default()
                .with_error_code(held.code)
                .with_partition_index(index)
                .with_leader_id(held.leader)
                .with_leader_epoch(held.epoch)
                .with_replica_nodes(held.replicas)
                .with_isr_nodes(held.in_sync)
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new()))
                .with_offline_replicas(held.offline)
        });
        let next = from.saturating_add(most);
        let more = (next < topic.partitions.len()).then(|| i32::try_from(next).unwrap_or(i32::MAX));
        let response = response
            .with_topic_id(topic.id)
            .with_is_internal(topic.is_internal())
            .with_partitions(partitions.collect())
            .with_topic_authorized_operations(TOPIC_OPERATIONS);
        (response, more)
    }
}

impl Serve for DescribeLogDirsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.iter().any(|wanted| wanted.topic.as_str() == topic))
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let wanted = |topic: &str, index: i32| {
            self.topics.as_ref().is_none_or(|topics| {
                topics.iter().any(|wanted| wanted.topic.as_str() == topic && wanted.partitions.contains(&index))
            })
        };
        let topics = call.shared.topics.all().into_iter().filter_map(|topic| {
            let held = (0..).zip(&topic.partitions).filter(|(index, partition)| {
                wanted(&topic.name, *index) && partition.replicas().assigned.contains(&call.broker)
            });
            let partitions: Vec<_> = held
                .map(|(index, partition)| {
                    let size = i64::try_from(partition.log().size()).unwrap_or(i64::MAX);
                    DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(size)
                })
                .collect();
            let topic = DescribeLogDirsTopic::default().with_name(topic_name(&topic.name));
            (!partitions.is_empty()).then(|| topic.with_partitions(partitions))
        });
        let bound = call.shared.settings.retention_bytes;
        let free = bound.saturating_sub(call.shared.topics.stored_bytes());
        let bytes = |bytes: usize| if call.version >= 4 { i64::try_from(bytes).unwrap_or(i64::MAX) } else { -1 };
        let dir = DescribeLogDirsResult::default()
            .with_log_dir(StrBytes::from_static_str("/memory"))
            .with_error_code(call.forced_code())
            .with_total_bytes(bytes(bound))
            .with_usable_bytes(bytes(free))
            .with_topics(topics.collect());
        let response = DescribeLogDirsResponse::default().with_results(vec![dir]);
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

/// No answer describes more partitions than this; Kafka's `max.request.partition.size.limit`.
const MOST_DESCRIBED: usize = 2000;
