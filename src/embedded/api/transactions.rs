//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn: what transactional producers ask for.
//!
//! Rules this file keeps:
//! - the coordinator decides (`embedded/transactions`); here its words are put as each version of a request knows them;
//! - an older version that does not know PRODUCER_FENCED is told INVALID_PRODUCER_EPOCH instead (KIP-360);
//! - the second version of transactions (KIP-890) is recognized by the version of a request.

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
        EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId,
        TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
        add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
        },
        txn_offset_commit_request::TxnOffsetCommitRequestPartition,
        txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic},
    },
    protocol::StrBytes,
};

use super::{Call, Serve};
use crate::embedded::{
    groups::{Committed, Membership},
    reply::{Body, Unanswered},
    transactions::{Claim, Identity},
};

impl Serve for InitProducerIdRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let response = InitProducerIdResponse::default().with_throttle_time_ms(call.throttle_ms());
        call.encode(&match call.init_producer(&self) {
            Ok(Identity { producer_id, epoch }) => {
                response.with_producer_id(ProducerId(producer_id)).with_producer_epoch(epoch)
            }
            Err(code) => {
                let code = call.in_words_of(code, 4);
                response.with_error_code(code).with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
            }
        })
    }
}

impl Call {
    fn init_producer(&self, request: &InitProducerIdRequest) -> Result<Identity, i16> {
        let Some(id) = &request.transactional_id else {
            // Without a transactional id Kafka gives a new id every time, whatever the request names (KIP-360).
            return match self.forced_code() {
                0 => Ok(Identity { producer_id: self.shared.new_producer_id(), epoch: 0 }),
                code => Err(code),
            };
        };
        self.coordinates_transaction(id)?;
        let expected = match (request.producer_id.0, request.producer_epoch) {
            (-1, -1) => None,
            (-1, _) | (_, -1) => return Err(ResponseError::InvalidRequest.code()),
            (producer_id, epoch) => Some(Identity { producer_id, epoch }),
        };
        let timeout = Duration::from_millis(u64::try_from(request.transaction_timeout_ms).unwrap_or(0));
        self.shared.transactions.init(&self.shared, id, timeout, expected).map_err(|error| error.code())
    }

    /// Whether this broker coordinates a transactional id, which must not be empty.
    pub(super) fn coordinates_transaction(&self, id: &str) -> Result<(), i16> {
        match id {
            "" => Err(ResponseError::InvalidRequest.code()),
            id => self.coordinates(id),
        }
    }

    /// An error code as versions before `first` know it.
    fn in_words_of(&self, code: i16, first: i16) -> i16 {
        if code == ResponseError::ProducerFenced.code() && self.version < first {
            return ResponseError::InvalidProducerEpoch.code();
        }
        code
    }
}

impl Serve for AddPartitionsToTxnRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        let old = self.v3_and_below_topics.iter();
        let new = self.transactions.iter().flat_map(|transaction| &transaction.topics);
        old.chain(new).any(|named| named.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let response = AddPartitionsToTxnResponse::default().with_throttle_time_ms(call.throttle_ms());
        if call.version >= 4 {
            // From other brokers: several transactions at once, and asked about only (KIP-890, part 1).
            let results = self.transactions.into_iter().map(|transaction| {
                let id = transaction.transactional_id.clone();
                AddPartitionsToTxnResult::default()
                    .with_transactional_id(id)
                    .with_topic_results(call.add_partitions(transaction))
            });
            return call.encode(&response.with_results_by_transaction(results.collect()));
        }
        let transaction = AddPartitionsToTxnTransaction::default()
            .with_transactional_id(self.v3_and_below_transactional_id)
            .with_producer_id(self.v3_and_below_producer_id)
            .with_producer_epoch(self.v3_and_below_producer_epoch)
            .with_topics(self.v3_and_below_topics);
        call.encode(&response.with_results_by_topic_v3_and_below(call.add_partitions(transaction)))
    }
}

impl Call {
    fn add_partitions(&self, wanted: AddPartitionsToTxnTransaction) -> Vec<AddPartitionsToTxnTopicResult> {
        let known = |topic: &str, index| {
            self.shared.topics.by_name(topic).is_some_and(|topic| topic.partition(index).is_some())
        };
        let code = |topic: &str, index| match self.forced(topic) {
            Some(code) => code,
            None if !known(topic, index) => ResponseError::UnknownTopicOrPartition.code(),
            None => 0,
        };
        if let Err(code) = self.coordinates_transaction(&wanted.transactional_id) {
            return by_partition(wanted.topics, |_, _| code);
        }
        let partitions: Vec<(String, i32)> = named_partitions(&wanted.topics).collect();
        if partitions.iter().any(|(topic, index)| code(topic, *index) != 0) {
            // All or nothing: what is not to blame has not been tried.
            let not_tried = ResponseError::OperationNotAttempted.code();
            return by_partition(wanted.topics, |topic, index| match code(topic, index) {
                0 => not_tried,
                code => code,
            });
        }
        let claim = |partitions| Claim {
            id: wanted.transactional_id.as_str(),
            producer: Identity { producer_id: wanted.producer_id.0, epoch: wanted.producer_epoch },
            partitions,
            group: None,
        };
        let (shared, transactions) = (&self.shared, &self.shared.transactions);
        if wanted.verify_only {
            // One by one: those that are in it are told apart from those that are not.
            return by_partition(wanted.topics.clone(), |topic, index| {
                let verified = transactions.admit(shared, claim(vec![(topic.to_owned(), index)]), false, || ());
                verified.map_or_else(|error| error.code(), |()| 0)
            });
        }
        let added = transactions.admit(shared, claim(partitions), true, || ());
        let code = added.map_or_else(|error| self.in_words_of(error.code(), 2), |()| 0);
        by_partition(wanted.topics.clone(), |_, _| code)
    }
}

fn named_partitions(topics: &[AddPartitionsToTxnTopic]) -> impl Iterator<Item = (String, i32)> {
    topics.iter().flat_map(|topic| topic.partitions.iter().map(|index| (topic.name.to_string(), *index)))
}

/// The same shape as the request, with what `code` says about each partition.
fn by_partition(
    topics: Vec<AddPartitionsToTxnTopic>,
    code: impl Fn(&str, i32) -> i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            let result = AddPartitionsToTxnPartitionResult::default().with_partition_index(*index);
            result.with_partition_error_code(code(&topic.name, *index))
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions)
    });
    topics.collect()
}

impl Serve for AddOffsetsToTxnRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let added = call.coordinates_transaction(&self.transactional_id).and_then(|()| {
            let claim = Claim {
                id: &self.transactional_id,
                producer: Identity { producer_id: self.producer_id.0, epoch: self.producer_epoch },
                partitions: Vec::new(),
                group: Some(self.group_id.to_string()),
            };
            call.shared.transactions.admit(&call.shared, claim, true, || ()).map_err(|error| error.code())
        });
        let code = added.map_or_else(|code| call.in_words_of(code, 2), |()| 0);
        let response = AddOffsetsToTxnResponse::default().with_throttle_time_ms(call.throttle_ms());
        call.encode(&response.with_error_code(code))
    }
}

impl Serve for EndTxnRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let ended = call.coordinates_transaction(&self.transactional_id).and_then(|()| {
            let producer = Identity { producer_id: self.producer_id.0, epoch: self.producer_epoch };
            let bump = call.version >= 5; // KIP-890, part 2
            let transactions = &call.shared.transactions;
            let ended = transactions.end(&call.shared, &self.transactional_id, producer, self.committed, bump);
            ended.map_err(|error| error.code())
        });
        let response = EndTxnResponse::default().with_throttle_time_ms(call.throttle_ms());
        call.encode(&match ended {
            Ok(next) if call.version >= 5 => {
                response.with_producer_id(ProducerId(next.producer_id)).with_producer_epoch(next.epoch)
            }
            Ok(_) => response,
            Err(code) => response.with_error_code(call.in_words_of(code, 2)),
        })
    }
}

impl Call {
    /// What TxnOffsetCommit answers.
    pub(super) fn commit_offsets(&self, request: &TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
        let mut offsets = Vec::new();
        // What is wrong with single partitions does not touch the others.
        let mut codes = Vec::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                let checked = self.offset_to_stage(&topic.name, partition);
                codes.push(checked.as_ref().map_or_else(|code| *code, |_| 0));
                offsets.extend(checked.ok());
            }
        }
        let staged = self.stage_offsets(request, offsets);
        let mut codes = codes.into_iter().map(|code| if code == 0 { staged.err().unwrap_or(0) } else { code });
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let answered = TxnOffsetCommitResponsePartition::default();
                let answered = answered.with_partition_index(partition.partition_index);
                answered.with_error_code(codes.next().unwrap_or(0))
            });
            let partitions = partitions.collect();
            TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
        });
        let topics = topics.collect();
        TxnOffsetCommitResponse::default().with_throttle_time_ms(self.throttle_ms()).with_topics(topics)
    }

    fn offset_to_stage(
        &self,
        topic: &str,
        wanted: &TxnOffsetCommitRequestPartition,
    ) -> Result<(String, i32, Committed), i16> {
        if let Some(code) = self.forced(topic) {
            return Err(code);
        }
        let known = self.shared.topics.by_name(topic);
        if known.is_none_or(|topic| topic.partition(wanted.partition_index).is_none()) {
            return Err(ResponseError::UnknownTopicOrPartition.code());
        }
        let metadata = wanted.committed_metadata.as_ref().map(StrBytes::to_string).unwrap_or_default();
        if metadata.len() > self.shared.settings.offset_metadata_bytes {
            return Err(ResponseError::OffsetMetadataTooLarge.code());
        }
        let committed = Committed {
            offset: wanted.committed_offset,
            leader_epoch: if self.version >= 2 { wanted.committed_leader_epoch } else { -1 },
            metadata,
            commit_timestamp: self.shared.clock.now_millis(),
        };
        Ok((topic.to_owned(), wanted.partition_index, committed))
    }

    /// Stages the offsets while the transaction cannot end.
    fn stage_offsets(
        &self,
        request: &TxnOffsetCommitRequest,
        offsets: Vec<(String, i32, Committed)>,
    ) -> Result<(), i16> {
        // A fault about one topic leaves the others alone.
        if self.forced.as_ref().is_none_or(|forced| forced.topic.is_none()) {
            self.coordinates(&request.group_id)?;
        }
        let groups = &self.shared.groups;
        let membership = Membership {
            member_id: request.member_id.to_string(),
            generation_or_epoch: request.generation_id,
            group_instance_id: request.group_instance_id.as_ref().map(StrBytes::to_string),
        };
        // KIP-447: before version 3 the sender says nothing about a member.
        groups.check_member(&request.group_id, &membership).map_err(|error| error.code())?;
        let claim = Claim {
            id: &request.transactional_id,
            producer: Identity { producer_id: request.producer_id.0, epoch: request.producer_epoch },
            partitions: Vec::new(),
            group: Some(request.group_id.to_string()),
        };
        let producer_id = request.producer_id.0;
        // From version 5 on the group is taken in with its first offset (KIP-890, part 2).
        let add = self.version >= 5;
        let stage = || {
            let staged = groups.stage_offsets(&request.group_id, producer_id, offsets);
            // The group may be new: its timer is to be set.
            groups.with(&self.shared, &request.group_id, |_, _| ());
            staged
        };
        match self.shared.transactions.admit(&self.shared, claim, add, stage) {
            Ok(staged) => staged.map_err(|error| error.code()),
            Err(error) => Err(for_append(error, self.version, 4).code()),
        }
    }
}

/// The coordinator's word about a producer that appends to a partition or commits offsets: `first_abortable` is the
/// version that knows TRANSACTION_ABORTABLE, and the one after it adds partitions by itself.
pub(super) fn for_append(error: ResponseError, version: i16, first_abortable: i16) -> ResponseError {
    match error {
        // What producers have always known from a partition's leader.
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        ResponseError::TransactionAbortable if version < first_abortable => ResponseError::InvalidTxnState,
        error => error,
    }
}
