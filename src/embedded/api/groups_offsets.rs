//! OffsetCommit and OffsetFetch: how far groups are.

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
        offset_commit_request::OffsetCommitRequestPartition,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
    protocol::StrBytes,
};
use tokio::time::Instant;

use super::{Call, Serve, distinct};
use crate::embedded::{
    groups::{Commit, Committed, Group, Membership, Offsets},
    reply::{Body, Unanswered},
};

impl Serve for OffsetCommitRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let mut response = OffsetCommitResponse::default();
        if call.version >= 3 {
            response.throttle_time_ms = call.throttle_ms();
        }
        response.topics = match call.commit_all(&self) {
            Ok(topics) => topics,
            Err(code) => answer_all(&self, |_, _| code),
        };
        call.encode(&response)
    }
}

/// The same shape as the request, with what `code` says about each partition.
fn answer_all(
    request: &OffsetCommitRequest,
    mut code: impl FnMut(&TopicName, &OffsetCommitRequestPartition) -> i16,
) -> Vec<OffsetCommitResponseTopic> {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answered = OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index);
            answered.with_error_code(code(&topic.name, partition))
        });
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    topics.collect()
}

impl Call {
    fn commit_all(&self, request: &OffsetCommitRequest) -> Result<Vec<OffsetCommitResponseTopic>, i16> {
        self.coordinates(&request.group_id)?;
        let sender = Membership {
            member_id: request.member_id.to_string(),
            generation_or_epoch: request.generation_id_or_member_epoch,
            group_instance_id: request.group_instance_id.as_ref().map(StrBytes::to_string),
        };
        let groups = &self.shared.groups;
        let act = |group: &mut Group, now| {
            group.members.check_commit(&sender, Commit::Plain(self.version))?;
            group.members.touch(&sender, now);
            Ok(answer_all(request, |topic, partition| self.commit(group, topic, partition, now)))
        };
        let committed = match groups.with(&self.shared, &request.group_id, act) {
            Some(committed) => committed,
            // A simple group: offsets without members.
            None if sender.generation_or_epoch < 0 => groups
                .with_new(&self.shared, &request.group_id, |group, now| {
                    answer_all(request, |topic, partition| self.commit(group, topic, partition, now))
                })
                .map_err(|_| ResponseError::InvalidCommitOffsetSize),
            None if self.version >= 9 => Err(ResponseError::GroupIdNotFound),
            None => Err(ResponseError::IllegalGeneration),
        };
        committed.map_err(|error| error.code())
    }

    /// Commits one offset and returns its error code.
    fn commit(&self, group: &mut Group, topic: &str, wanted: &OffsetCommitRequestPartition, now: Instant) -> i16 {
        if let Some(code) = self.forced(topic) {
            return code;
        }
        let known = self.shared.topics.by_name(topic);
        if known.is_none_or(|topic| topic.partition(wanted.partition_index).is_none()) {
            return ResponseError::UnknownTopicOrPartition.code();
        }
        let metadata = wanted.committed_metadata.as_ref().map(StrBytes::to_string).unwrap_or_default();
        if metadata.len() > self.shared.settings.offset_metadata_bytes {
            return ResponseError::OffsetMetadataTooLarge.code();
        }
        let committed = Committed {
            offset: wanted.committed_offset,
            leader_epoch: if self.version >= 6 { wanted.committed_leader_epoch } else { -1 },
            metadata,
            commit_timestamp: self.shared.clock.now_millis(),
        };
        let partition = (topic.to_owned(), wanted.partition_index);
        group.commit(self.shared.groups.budget(), partition, committed, now).map_or_else(|error| error.code(), |()| 0)
    }
}

impl Serve for OffsetFetchRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        let topics = self.topics.iter().flatten().map(|wanted| &wanted.name);
        let in_groups = self.groups.iter().flat_map(|group| group.topics.iter().flatten()).map(|wanted| &wanted.name);
        topics.chain(in_groups).any(|name| name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let mut response = OffsetFetchResponse::default();
        if call.version >= 3 {
            response.throttle_time_ms = call.throttle_ms();
        }
        if call.version >= 8 {
            // KIP-709: several groups at once.
            let stable = self.require_stable;
            let groups = distinct(self.groups, |group| group.group_id.clone());
            response.groups = groups.map(|group| call.committed_of(group, stable)).collect();
            return call.encode(&response);
        }
        let topics = self.topics.map(|topics| {
            let renamed = |topic: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
                OffsetFetchRequestTopics::default()
                    .with_name(topic.name)
                    .with_partition_indexes(topic.partition_indexes)
            };
            topics.into_iter().map(renamed).collect()
        });
        // Version 1 has no way to ask for all of them: an empty list means none.
        let wanted = OffsetFetchRequestGroup::default().with_group_id(self.group_id).with_topics(topics);
        let group = call.committed_of(wanted.clone(), self.require_stable);
        if call.version >= 2 {
            response.error_code = group.error_code;
        }
        response.topics = match group.error_code {
            0 => group.topics.into_iter().map(before_version_8).collect(),
            // Version 1 tells errors by the partition; later ones want both.
            code => refused(wanted.topics, code).into_iter().map(before_version_8).collect(),
        };
        call.encode(&response)
    }
}

impl Call {
    /// What a group has committed, or why that cannot be told.
    fn committed_of(&self, wanted: OffsetFetchRequestGroup, stable: bool) -> OffsetFetchResponseGroup {
        let response = OffsetFetchResponseGroup::default().with_group_id(wanted.group_id.clone());
        let found = self.coordinates(&wanted.group_id).and_then(|()| {
            let act = |group: &mut Group, _| {
                let member_id = wanted.member_id.as_deref().filter(|id| !id.is_empty());
                group.members.check_fetch(member_id, wanted.member_epoch).map_err(|error| error.code())?;
                Ok(self.tell(&group.offsets, wanted.topics.as_deref(), stable))
            };
            let found = self.shared.groups.with(&self.shared, &wanted.group_id, act);
            // Of a group that nobody knows nothing is committed; that is no error.
            found.unwrap_or_else(|| Ok(self.tell(&Offsets::default(), wanted.topics.as_deref(), stable)))
        });
        match found {
            Ok(topics) => response.with_topics(topics),
            Err(code) => response.with_error_code(code),
        }
    }

    /// The offsets of the wanted partitions, or of all that have one.
    fn tell(
        &self,
        offsets: &Offsets,
        wanted: Option<&[OffsetFetchRequestTopics]>,
        stable: bool,
    ) -> Vec<OffsetFetchResponseTopics> {
        let tell = |topic: &str, index| {
            let response = nothing_committed(index);
            match (self.forced(topic), offsets.committed(topic, index)) {
                (Some(code), _) => response.with_error_code(code),
                _ if stable && offsets.is_unstable(topic, index) => {
                    response.with_error_code(ResponseError::UnstableOffsetCommit.code()) // KIP-447
                }
                (None, Some(committed)) => response
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(StrBytes::from_string(committed.metadata.clone()))),
                (None, None) => response,
            }
        };
        let mut topics = Vec::<OffsetFetchResponseTopics>::new();
        let Some(wanted) = wanted else {
            for (topic, index, _) in offsets.all() {
                if topics.last().is_none_or(|last| last.name.as_str() != topic) {
                    let name = TopicName(StrBytes::from_string(topic.to_owned()));
                    topics.push(OffsetFetchResponseTopics::default().with_name(name));
                }
                if let Some(last) = topics.last_mut() {
                    last.partitions.push(tell(topic, index));
                }
            }
            return topics;
        };
        topics.extend(wanted.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| tell(&topic.name, *index));
            OffsetFetchResponseTopics::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        }));
        topics
    }
}

fn nothing_committed(index: i32) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(-1)
        .with_committed_leader_epoch(-1)
        .with_metadata(Some(StrBytes::default()))
}

/// An error for each of the wanted partitions.
fn refused(wanted: Option<Vec<OffsetFetchRequestTopics>>, code: i16) -> Vec<OffsetFetchResponseTopics> {
    let topics = wanted.unwrap_or_default().into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| nothing_committed(*index).with_error_code(code));
        OffsetFetchResponseTopics::default().with_partitions(partitions.collect()).with_name(topic.name)
    });
    topics.collect()
}

/// The same in the shape that versions 1 to 7 have.
fn before_version_8(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|partition| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    });
    OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
}
