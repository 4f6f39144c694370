//! Produce and InitProducerId.
//!
//! Rules this file keeps:
//! - every partition is judged by itself: one refused batch does not touch the others of a request;
//! - a batch is checked wholly (format, checksum, size, sequence) before anything of it is kept;
//! - acks 0 is never answered, an error ends the connection instead; with one replica, acks 1 and −1 are the same.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, ProducerId,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::StrBytes,
};

use super::{Call, Serve};
use crate::embedded::{
    batch::{BatchError, BatchHeader, ZSTD},
    log::Append,
    producers::Rules,
    reply::{Body, Unanswered},
    topics::Topic,
};

impl Serve for ProduceRequest {
    fn names(&self, call: &Call, topic: &str) -> bool {
        self.topic_data.iter().any(|data| {
            if call.version >= 13 {
                call.shared.topics.by_id(&data.topic_id).is_some_and(|known| known.name == topic)
            } else {
                data.name.as_str() == topic
            }
        })
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let acks = self.acks;
        let responses: Vec<_> = self.topic_data.into_iter().map(|topic| call.produce_topic(acks, topic)).collect();
        if acks == 0 {
            let failed = responses.iter().flat_map(|topic| &topic.partition_responses).any(|it| it.error_code != 0);
            // As Kafka does: else a producer that wants no answers would never look for the new leader.
            return if failed { Err(Unanswered::HangUp) } else { Ok(None) };
        }
        call.encode(&ProduceResponse::default().with_responses(responses).with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Call {
    fn produce_topic(&self, acks: i16, data: TopicProduceData) -> TopicProduceResponse {
        let by_id = self.version >= 13;
        let topic = if by_id {
            self.shared.topics.by_id(&data.topic_id).ok_or(ResponseError::UnknownTopicId)
        } else {
            self.shared.topics.by_name(&data.name).ok_or(ResponseError::UnknownTopicOrPartition)
        };
        let answer = |partition| self.produce_partition(acks, topic.as_ref().map_err(|error| *error), partition);
        TopicProduceResponse::default()
            .with_name(data.name)
            .with_topic_id(data.topic_id)
            .with_partition_responses(data.partition_data.into_iter().map(answer).collect())
    }

    fn produce_partition(
        &self,
        acks: i16,
        topic: Result<&Arc<Topic>, ResponseError>,
        data: PartitionProduceData,
    ) -> PartitionProduceResponse {
        let response = PartitionProduceResponse::default().with_index(data.index);
        let result = topic.map_err(Refusal::from).and_then(|topic| match self.forced(&topic.name) {
            Some(code) => Err(Refusal { code, message: None }),
            None if !(-1..=1).contains(&acks) => Err(ResponseError::InvalidRequiredAcks.into()),
            None => self.append(topic, data.index, data.records),
        });
        match result {
            Ok(placed) => response
                .with_base_offset(placed.base_offset)
                .with_log_append_time_ms(placed.timestamp)
                .with_log_start_offset(placed.log_start_offset),
            Err(refusal) => response
                .with_error_code(refusal.code)
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1)
                .with_error_message(refusal.message.filter(|_| self.version >= 8).map(StrBytes::from_static_str)),
        }
    }

    fn append(&self, topic: &Topic, index: i32, records: Option<Bytes>) -> Result<Placed, Refusal> {
        let partition = topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)?;
        partition.check_leader(self.broker, -1)?;
        let bytes = records.ok_or(BatchError::Invalid("no records"))?;
        let settings = &self.shared.settings;
        if bytes.len() > topic.max_message_bytes.unwrap_or(settings.max_message_bytes) {
            return Err(ResponseError::MessageTooLarge.into());
        }
        let header = BatchHeader::parse(&bytes)?;
        header.validate(&bytes)?;
        self.refuse_by_header(&header)?;
        let append = Append {
            header,
            bytes,
            leader_epoch: partition.leader_epoch(),
            frame: self.frame,
            rules: self.producer_rules(),
        };
        let (appended, log_start_offset) = self.shared.topics.append(partition, append)?;
        Ok(Placed { base_offset: appended.base_offset, timestamp: appended.timestamp, log_start_offset })
    }

    /// The circumstances of this request that decide about batches of producers with an id.
    pub(super) fn producer_rules(&self) -> Rules {
        let settings = &self.shared.settings;
        Rules {
            strict_start: settings.strict_producer_start,
            second_version: self.version >= 12, // KIP-890
            verified: false,
            now_millis: self.shared.clock.now_millis(),
            expiration_millis: i64::try_from(settings.producer_id_expiration.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// What is wrong with a sound batch for this request and at this time.
    fn refuse_by_header(&self, header: &BatchHeader) -> Result<(), Refusal> {
        if header.codec() == ZSTD && self.version < 7 {
            return Err(ResponseError::UnsupportedCompressionType.into()); // KIP-110
        }
        if header.is_transactional() {
            return Err(ResponseError::InvalidTxnState.into());
        }
        if header.max_timestamp > millis_since_epoch(SystemTime::now() + FUTURE) {
            return Err(ResponseError::InvalidTimestamp.into()); // KIP-1030
        }
        Ok(())
    }
}

struct Placed {
    base_offset: i64,
    timestamp: i64,
    log_start_offset: i64,
}

struct Refusal {
    code: i16,
    message: Option<&'static str>,
}

impl From<ResponseError> for Refusal {
    fn from(error: ResponseError) -> Self {
        Self { code: error.code(), message: None }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Invalid(why) => Self { code: ResponseError::InvalidRecord.code(), message: Some(why) },
            BatchError::Checksum => ResponseError::CorruptMessage.into(),
            BatchError::Codec => ResponseError::UnsupportedCompressionType.into(),
        }
    }
}

fn millis_since_epoch(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Records may be this far ahead of the broker's clock: `message.timestamp.after.max.ms` of Kafka 4.
const FUTURE: Duration = Duration::from_secs(3600);

impl Serve for InitProducerIdRequest {
    fn names(&self, _: &Call, _: &str) -> bool {
        false
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let refused = match (call.forced_code(), &self.transactional_id) {
            (0, None) => None,
            // Transactions are not served yet.
            (0, Some(_)) => Some(ResponseError::InvalidRequest.code()),
            (code, _) => Some(code),
        };
        let response = InitProducerIdResponse::default().with_throttle_time_ms(call.throttle_ms());
        call.encode(&match refused {
            Some(code) => response.with_error_code(code).with_producer_id(ProducerId(-1)).with_producer_epoch(-1),
            // Without a transactional id Kafka gives a new id every time, whatever the request names (KIP-360).
            None => response
                .with_producer_id(ProducerId(call.shared.next_producer_id.fetch_add(1, Ordering::Relaxed)))
                .with_producer_epoch(0),
        })
    }
}
