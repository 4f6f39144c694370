//! ListOffsets and OffsetForLeaderEpoch: where a log begins and ends, what stands where at which time, and how far each
//! leader came.

use kafka_protocol::{
    ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        offset_for_leader_epoch_request::OffsetForLeaderPartition,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::{Call, Serve};
use crate::embedded::reply::{Body, Unanswered};

impl Serve for ListOffsetsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|wanted| call.list_partition(&topic.name, self.isolation_level, wanted))
                .collect();
            ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
        });
        let response = ListOffsetsResponse::default().with_topics(topics.collect());
        call.encode(&response.with_throttle_time_ms(if call.version >= 2 { call.throttle_ms() } else { 0 }))
    }
}

impl Call {
    fn list_partition(
        &self,
        topic: &str,
        isolation_level: i8,
        wanted: &ListOffsetsPartition,
    ) -> ListOffsetsPartitionResponse {
        let response = ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
        match self.find_offset(topic, isolation_level, wanted) {
            Ok((offset, timestamp, epoch)) => response
                .with_offset(offset)
                .with_timestamp(timestamp)
                .with_leader_epoch(if self.version >= 4 { epoch } else { -1 }),
            Err(code) => response.with_error_code(code).with_offset(-1).with_timestamp(-1).with_leader_epoch(-1),
        }
    }

    /// Offset, timestamp and leader epoch of what is asked for; −1 each where there is no such record.
    fn find_offset(
        &self,
        topic: &str,
        isolation_level: i8,
        wanted: &ListOffsetsPartition,
    ) -> Result<(i64, i64, i32), i16> {
        if let Some(code) = self.forced(topic) {
            return Err(code);
        }
        let topic = self.shared.topics.by_name(topic);
        let partition = topic.as_ref().and_then(|topic| topic.partition(wanted.partition_index));
        let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition.code())?;
        partition.check_leader(self.broker, wanted.current_leader_epoch).map_err(|error| error.code())?;
        let log = partition.log();
        // Committed records end at the last stable offset, whatever is asked for.
        let end = if isolation_level == READ_COMMITTED { log.last_stable_offset() } else { log.end_offset() };
        let found = match wanted.timestamp {
            EARLIEST | EARLIEST_LOCAL => Some((log.start_offset(), -1)),
            LATEST => Some((end, -1)),
            MAX_TIMESTAMP => log.newest_timestamp().filter(|(offset, _)| *offset < end),
            // Nothing is tiered: no offset was ever moved away or is waiting to be.
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => None,
            timestamp if timestamp >= 0 => log.offset_at(timestamp).filter(|(offset, _)| *offset < end),
            _ => return Err(ResponseError::InvalidRequest.code()),
        };
        let epoch = |offset| log.epochs.at(offset).unwrap_or(-1);
        Ok(found.map_or((-1, -1, -1), |(offset, timestamp)| (offset, timestamp, epoch(offset))))
    }
}

impl Serve for OffsetForLeaderEpochRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.topic.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| call.end_of_epoch(&topic.topic, wanted)).collect();
            OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
        });
        let response = OffsetForLeaderEpochResponse::default().with_topics(topics.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Call {
    /// The last epoch up to the one asked for, and where it ended; −1 each where it is not known (KIP-320).
    fn end_of_epoch(&self, topic: &str, wanted: &OffsetForLeaderPartition) -> EpochEndOffset {
        let response = EpochEndOffset::default().with_partition(wanted.partition);
        let known = self.shared.topics.by_name(topic);
        let partition = known.as_ref().and_then(|topic| topic.partition(wanted.partition));
        let found = match (self.forced(topic), partition) {
            (Some(code), _) => Err(code),
            (None, None) => Err(ResponseError::UnknownTopicOrPartition.code()),
            (None, Some(partition)) => {
                let log = partition.log();
                let ours = partition.check_leader(self.broker, wanted.current_leader_epoch);
                ours.map_err(|error| error.code()).map(|()| log.epochs.end_of(wanted.leader_epoch, log.end_offset()))
            }
        };
        match found {
            Ok(found) => {
                let (epoch, end_offset) = found.unwrap_or((-1, -1));
                response.with_leader_epoch(epoch).with_end_offset(end_offset)
            }
            Err(code) => response.with_error_code(code).with_leader_epoch(-1).with_end_offset(-1),
        }
    }
}

/// The isolation level that sees no record of an open or aborted transaction.
const READ_COMMITTED: i8 = 1;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3; // KIP-734
const EARLIEST_LOCAL: i64 = -4; // KIP-405
const LATEST_TIERED: i64 = -5; // KIP-1005
const EARLIEST_PENDING_UPLOAD: i64 = -6; // KIP-1023
