//! Produce.
//!
//! Rules this file keeps:
//! - every partition is judged by itself: one refused batch does not touch the others of a request;
//! - a batch is checked wholly (format, checksum, size, sequence) before anything of it is kept;
//! - acks 0 is never answered, an error ends the connection instead; with one replica, acks 1 and −1 are the same.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::StrBytes,
};

use super::{Call, Serve, transactions::for_append};
use crate::embedded::{
    batch::{BatchError, BatchHeader, ZSTD},
    configs::TopicConfig,
    log::{Append, Appended},
    partition::Partition,
    producers::Rules,
    reply::{Body, Unanswered},
    topics::Topic,
    transactions::{Claim, Identity},
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
        let terms = Terms { acks, transactional_id: self.transactional_id.as_ref().map(|id| id.as_str()) };
        let responses: Vec<_> = self.topic_data.into_iter().map(|topic| call.produce_topic(terms, topic)).collect();
        if acks == 0 {
            let failed = responses.iter().flat_map(|topic| &topic.partition_responses).any(|it| it.error_code != 0);
            // As Kafka does: else a producer that wants no answers would never look for the new leader.
            return if failed { Err(Unanswered::HangUp) } else { Ok(None) };
        }
        let partitions = responses.iter().flat_map(|topic| &topic.partition_responses);
        let endpoints = call.endpoints(partitions.map(|partition| partition.current_leader.leader_id)).map(|node| {
            let endpoint = NodeEndpoint::default().with_node_id(BrokerId(node.id)).with_port(node.port.into());
            endpoint.with_host(StrBytes::from_string(node.host))
        });
        let response = ProduceResponse::default().with_node_endpoints(endpoints.collect()).with_responses(responses);
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

/// What holds for every batch of a request.
#[derive(Clone, Copy)]
struct Terms<'a> {
    acks: i16,
    transactional_id: Option<&'a str>,
}

impl Call {
    fn produce_topic(&self, terms: Terms<'_>, data: TopicProduceData) -> TopicProduceResponse {
        let by_id = self.version >= 13;
        let topic = if by_id {
            self.shared.topics.by_id(&data.topic_id).ok_or(ResponseError::UnknownTopicId)
        } else {
            self.shared.topics.by_name(&data.name).ok_or(ResponseError::UnknownTopicOrPartition)
        };
        let answer = |partition| self.produce_partition(terms, topic.as_ref().map_err(|error| *error), partition);
        TopicProduceResponse::default()
            .with_name(data.name)
            .with_topic_id(data.topic_id)
            .with_partition_responses(data.partition_data.into_iter().map(answer).collect())
    }

    fn produce_partition(
        &self,
        terms: Terms<'_>,
        topic: Result<&Arc<Topic>, ResponseError>,
        data: PartitionProduceData,
    ) -> PartitionProduceResponse {
        let index = data.index;
        let mut response = PartitionProduceResponse::default().with_index(index);
        let result = topic.map_err(Refusal::from).and_then(|topic| match self.forced(&topic.name) {
            Some(code) => Err(Refusal { code, message: None }),
            None if !(-1..=1).contains(&terms.acks) => Err(ResponseError::InvalidRequiredAcks.into()),
            None => {
                if let Some((leader, epoch)) = self.leader_elsewhere(topic, data.index).filter(|_| self.version >= 10) {
                    let leader = LeaderIdAndEpoch::default().with_leader_id(leader).with_leader_epoch(epoch);
                    response.current_leader = leader; // KIP-951
                }
                self.append(terms, topic, data.index, data.records)
            }
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
                .with_log_start_offset(log_start_with(&refusal, topic.ok(), index))
                .with_error_message(refusal.message.filter(|_| self.version >= 8).map(StrBytes::from_static_str)),
        }
    }

    fn append(&self, terms: Terms<'_>, topic: &Topic, index: i32, records: Option<Bytes>) -> Result<Placed, Refusal> {
        let partition = topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)?;
        partition.check_leader(self.broker, -1)?;
        let config = topic.configs.current();
        if terms.acks == -1 && !partition.has_in_sync(config.min_in_sync) {
            return Err(ResponseError::NotEnoughReplicas.into());
        }
        let bytes = records.ok_or(BatchError::Invalid("no records"))?;
        if bytes.len() > config.max_message_bytes {
            return Err(ResponseError::MessageTooLarge.into());
        }
        let header = BatchHeader::parse(&bytes)?;
        header.validate(&bytes)?;
        self.refuse_by_header(&header)?;
        let (header, bytes) = self.as_configured(&config, header, bytes)?;
        let append = Append {
            header,
            bytes,
            leader_epoch: partition.leader_epoch(),
            frame: self.frame,
            rules: self.producer_rules(),
        };
        let (appended, log_start_offset) = if header.is_transactional() {
            self.append_in_transaction(terms, topic, index, partition, append)?
        } else {
            self.shared.topics.append(partition, append)?
        };
        let stamped = appended.cost > 0 && config.log_append_time;
        let timestamp = if stamped { header.max_timestamp } else { appended.timestamp };
        Ok(Placed { base_offset: appended.base_offset, timestamp, log_start_offset })
    }

    /// The batch as its topic wants it, or what the topic does not allow.
    fn as_configured(
        &self,
        config: &TopicConfig,
        mut header: BatchHeader,
        mut bytes: Bytes,
    ) -> Result<(BatchHeader, Bytes), Refusal> {
        let now = self.shared.clock.now_millis();
        let oldest = now.saturating_sub(config.before_max_millis);
        let too_new = header.max_timestamp > now.saturating_add(config.after_max_millis);
        let too_old = || header.payload(&bytes).is_some_and(|payload| header.oldest_timestamp(&payload) < oldest);
        if header.is_log_append_time() || !config.log_append_time && (too_new || oldest > 0 && too_old()) {
            return Err(ResponseError::InvalidTimestamp.into()); // KIP-937
        }
        if config.compact && !header.payload(&bytes).is_some_and(|payload| header.has_only_keys(&payload)) {
            return Err(BatchError::Invalid("a record without a key in a compacted topic").into());
        }
        if let Some(codec) = config.codec.filter(|codec| *codec != header.codec()) {
            (header, bytes) = header.recompressed(&bytes, codec).ok_or(ResponseError::CorruptMessage)?;
        }
        if config.log_append_time {
            (header, bytes) = header.stamped(&bytes, now);
        }
        Ok((header, bytes))
    }

    /// Appends a batch that belongs to a transaction. The first one in a partition needs the coordinator's word, or from
    /// version 12 on takes the partition in (KIP-890).
    fn append_in_transaction(
        &self,
        terms: Terms<'_>,
        topic: &Topic,
        index: i32,
        partition: &Arc<Partition>,
        append: Append,
    ) -> Result<(Appended, i64), ResponseError> {
        let topics = &self.shared.topics;
        let id = terms.transactional_id.ok_or(ResponseError::TransactionalIdAuthorizationFailed)?;
        let BatchHeader { producer_id, producer_epoch: epoch, .. } = append.header;
        let add = append.rules.second_version;
        let verified = Append { rules: Rules { verified: true, ..append.rules }, ..append };
        if !add && !self.shared.settings.transaction_verification {
            return topics.append(partition, verified);
        }
        if partition.log().has_transaction(producer_id, epoch) {
            // The word of then does not hold if the transaction ends now.
            let rules = Rules { verified: false, ..verified.rules };
            return topics.append(partition, Append { rules, ..verified });
        }
        let claim = Claim {
            id,
            producer: Identity { producer_id, epoch },
            partitions: vec![(topic.name.clone(), index)],
            group: None,
        };
        match self.shared.transactions.admit(&self.shared, claim, add, || topics.append(partition, verified)) {
            Ok(appended) => appended,
            // Producers of the first version know nothing of that here, and try again for this.
            Err(ResponseError::ConcurrentTransactions) if !add => Err(ResponseError::NotEnoughReplicas),
            Err(error) => Err(for_append(error, self.version, 11)),
        }
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
        Ok(())
    }
}

/// Where the log begins, which a producer needs to know to understand what is wrong with its numbers.
fn log_start_with(refusal: &Refusal, topic: Option<&Arc<Topic>>, index: i32) -> i64 {
    let numbers = [
        ResponseError::OutOfOrderSequenceNumber,
        ResponseError::InvalidProducerEpoch,
        ResponseError::UnknownProducerId,
    ];
    let is_told = numbers.iter().any(|error| error.code() == refusal.code);
    let partition = topic.filter(|_| is_told).and_then(|topic| topic.partition(index));
    partition.map_or(-1, |partition| partition.log().start_offset())
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
