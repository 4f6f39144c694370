//! DescribeTransactions, ListTransactions, DescribeProducers, WriteTxnMarkers: what administrators ask for.
//!
//! Rules this file keeps:
//! - a transactional id is told of by its coordinator alone, a partition's producers by its leader alone;
//! - a marker that an administrator writes ends a transaction in one partition, whatever the coordinator believes.

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
        ListTransactionsRequest, ListTransactionsResponse, ProducerId, TopicName, TransactionalId,
        WriteTxnMarkersRequest, WriteTxnMarkersResponse,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
        describe_transactions_response::{TopicData, TransactionState as DescribedTransaction},
        list_transactions_response::TransactionState as ListedTransaction,
        write_txn_markers_request::WritableTxnMarker,
        write_txn_markers_response::{
            WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
        },
    },
    protocol::StrBytes,
};
use regex_lite::Regex;

use super::{Call, Serve, distinct};
use crate::embedded::{
    TransactionDescription,
    marker::Marker,
    reply::{Body, Unanswered},
    transactions::Transactions,
};

impl Serve for DescribeTransactionsRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let states = distinct(self.transactional_ids, TransactionalId::clone).map(|id| call.describe_transaction(id));
        let response = DescribeTransactionsResponse::default().with_throttle_time_ms(call.throttle_ms());
        call.encode(&response.with_transaction_states(states.collect()))
    }
}

impl Call {
    fn describe_transaction(&self, id: TransactionalId) -> DescribedTransaction {
        let found = self
            .coordinates_transaction(&id)
            .and_then(|()| self.shared.transactions.describe(&id).ok_or(ResponseError::TransactionalIdNotFound.code()));
        let described = DescribedTransaction::default().with_transactional_id(id);
        match found {
            Ok(found) => described
                .with_transaction_state(StrBytes::from_static_str(found.state))
                .with_transaction_timeout_ms(i32::try_from(found.timeout.as_millis()).unwrap_or(i32::MAX))
                .with_transaction_start_time_ms(found.started_millis)
                .with_producer_id(ProducerId(found.producer_id))
                .with_producer_epoch(found.producer_epoch)
                .with_topics(touched_topics(&found)),
            Err(code) => described.with_error_code(code),
        }
    }
}

/// What a transaction has touched, a group as the partition of `__consumer_offsets` that it would be in.
fn touched_topics(found: &TransactionDescription) -> Vec<TopicData> {
    let mut topics: Vec<TopicData> = Vec::new();
    let groups = found.groups.iter().map(|group| (OFFSETS_TOPIC.to_owned(), offsets_partition(group)));
    for (topic, partition) in found.partitions.iter().cloned().chain(groups) {
        match topics.last_mut() {
            Some(last) if last.topic.as_str() == topic => last.partitions.push(partition),
            _ => topics.push(
                TopicData::default()
                    .with_topic(TopicName(StrBytes::from_string(topic)))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    topics
}

/// The partition that Kafka keeps a group in: by Java's hash of strings, over 50.
fn offsets_partition(group: &str) -> i32 {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % 50
}

impl Serve for ListTransactionsRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let response = ListTransactionsResponse::default().with_throttle_time_ms(call.throttle_ms());
        if call.forced_code() != 0 {
            return call.encode(&response.with_error_code(call.forced_code()));
        }
        let pattern = self.transactional_id_pattern.as_ref().filter(|pattern| !pattern.is_empty()); // KIP-1152
        let Ok(pattern) = pattern.map(|pattern| Regex::new(&format!("^(?:{pattern})$"))).transpose() else {
            return call.encode(&response.with_error_code(ResponseError::InvalidRegularExpression.code()));
        };
        let now = call.shared.clock.now_millis();
        let wanted = |found: &TransactionDescription| {
            let states = &self.state_filters;
            let ids = &self.producer_id_filters;
            call.coordinates(&found.transactional_id).is_ok()
                && (states.is_empty() || states.iter().any(|state| state.as_str() == found.state))
                && (ids.is_empty() || ids.iter().any(|id| id.0 == found.producer_id))
                // KIP-994: longer than this. One without a transaction counts as begun before time itself, as in Kafka.
                && (self.duration_filter < 0 || now.saturating_sub(found.started_millis) > self.duration_filter)
                && pattern.as_ref().is_none_or(|pattern| pattern.is_match(&found.transactional_id))
        };
        let states = call.shared.transactions.all().into_iter().filter(wanted).map(|found| {
            ListedTransaction::default()
                .with_transactional_id(TransactionalId(StrBytes::from_string(found.transactional_id)))
                .with_producer_id(ProducerId(found.producer_id))
                .with_transaction_state(StrBytes::from_static_str(found.state))
        });
        let states = states.collect();
        let unknown = self.state_filters.iter().filter(|state| !Transactions::is_state(state)).cloned();
        call.encode(&response.with_unknown_state_filters(unknown.collect()).with_transaction_states(states))
    }
}

impl Serve for DescribeProducersRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.iter().any(|named| named.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let topics = distinct(self.topics, |topic| topic.name.clone()).map(|topic| {
            let partitions = distinct(topic.partition_indexes, |index| *index).map(|index| {
                let described = PartitionResponse::default().with_partition_index(index);
                match call.producers(&topic.name, index) {
                    Ok(producers) => described.with_active_producers(producers),
                    Err(code) => described.with_error_code(code),
                }
            });
            let partitions = partitions.collect();
            TopicResponse::default().with_name(topic.name).with_partitions(partitions)
        });
        let response = DescribeProducersResponse::default().with_topics(topics.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Call {
    fn producers(&self, topic: &str, index: i32) -> Result<Vec<ProducerState>, i16> {
        if let Some(code) = self.forced(topic) {
            return Err(code);
        }
        let topic = self.shared.topics.by_name(topic);
        let partition = topic.as_ref().and_then(|topic| topic.partition(index));
        let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition.code())?;
        partition.check_leader(self.broker, -1).map_err(|error| error.code())?;
        let states = partition.log().producers(&self.producer_rules());
        let states = states.into_iter().map(|state| {
            ProducerState::default()
                .with_producer_id(ProducerId(state.producer_id))
                .with_producer_epoch(state.epoch.into())
                .with_last_sequence(state.last_sequence)
                .with_last_timestamp(state.timestamp)
                .with_coordinator_epoch(state.coordinator_epoch)
                .with_current_txn_start_offset(state.open.unwrap_or(-1))
        });
        Ok(states.collect())
    }
}

impl Serve for WriteTxnMarkersRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.markers.iter().flat_map(|marker| &marker.topics).any(|named| named.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let markers = self.markers.into_iter().map(|marker| call.write_marker(marker));
        call.encode(&WriteTxnMarkersResponse::default().with_markers(markers.collect()))
    }
}

impl Call {
    fn write_marker(&self, wanted: WritableTxnMarker) -> WritableTxnMarkerResult {
        let marker = Marker {
            producer_id: wanted.producer_id.0,
            producer_epoch: wanted.producer_epoch,
            coordinator_epoch: wanted.coordinator_epoch,
            commit: wanted.transaction_result,
            timestamp: self.shared.clock.now_millis(),
        };
        let topics = wanted.topics.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                let code = self.write_marker_to(&topic.name, *index, &marker).err().unwrap_or(0);
                WritableTxnMarkerPartitionResult::default().with_partition_index(*index).with_error_code(code)
            });
            let partitions = partitions.collect();
            WritableTxnMarkerTopicResult::default().with_name(topic.name).with_partitions(partitions)
        });
        WritableTxnMarkerResult::default().with_producer_id(wanted.producer_id).with_topics(topics.collect())
    }

    fn write_marker_to(&self, topic: &str, index: i32, marker: &Marker) -> Result<(), i16> {
        if let Some(code) = self.forced(topic) {
            return Err(code);
        }
        if marker.producer_id < 0 || marker.producer_epoch < 0 {
            return Err(ResponseError::InvalidRequest.code());
        }
        let topic = self.shared.topics.by_name(topic);
        let partition = topic.as_ref().and_then(|topic| topic.partition(index));
        let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition.code())?;
        partition.check_leader(self.broker, -1).map_err(|error| error.code())?;
        self.shared.topics.append_marker(partition, marker).map_err(|error| error.code())
    }
}

/// The topic that Kafka keeps offsets in. It does not exist here, but its name is what administrators know.
const OFFSETS_TOPIC: &str = "__consumer_offsets";
