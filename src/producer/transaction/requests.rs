//! The requests of a transaction in their words, and the answers in the machine's.
//!
//! Rules this file keeps:
//! - T2  a transaction of the first version speaks no version of a request that means the second, and the other way round;
//! - what may have been sent is never repeated here: `machine::txn` decides;
//! - KIP-1319: offsets go by topic id only if every id is known.

use std::time::Duration;

use crate::{
    cluster::{Cluster, KeyType, Route, To, Traffic},
    error::{Error, ErrorKind, Result},
    machine::{
        identity::ProducerId,
        metadata::Metadata,
        txn::{Ask, Phase, Reply, Request, Version},
    },
    producer::init::nameless,
    types::{ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition},
    wire::{
        self, Choice, ErrorCode, Str, Uuid,
        messages::{
            AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, DescribeTransactionsRequest,
            EndTxnRequest, InitProducerIdRequest, TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition,
            TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse, TxnOffsetCommitResponseTopic,
        },
    },
};

/// A request that is to be made, with all that the machine does not know.
pub(super) struct Call {
    pub(super) cluster: Cluster,
    pub(super) id: Str,
    pub(super) timeout: Duration,
    pub(super) request: Request,
    /// The partitions of AddPartitionsToTxn.
    pub(super) partitions: Vec<(usize, Str, i32)>,
    /// What TxnOffsetCommit commits.
    pub(super) offsets: Option<(ConsumerGroupMetadata, Vec<(TopicPartition, OffsetAndMetadata)>)>,
}

impl Call {
    /// Makes the request, and answers with what went wrong in words besides.
    pub(super) async fn run(self) -> (Reply, Option<Error>) {
        let outcome = match self.request.ask.clone() {
            Ask::Init { expected } => self.init(expected).await,
            Ask::AddPartitions(_) => self.add_partitions().await,
            Ask::AddOffsets(group) => self.add_offsets(group).await,
            Ask::CommitOffsets(_) => self.commit_offsets().await,
            Ask::End { commit } => self.end(commit).await,
            Ask::Describe => self.describe().await,
        };
        match outcome {
            Ok(reply) => {
                let code = worst(&reply);
                let error =
                    code.map(|code| Error::broker(code, format_args!("{:?} of {}", self.request.ask.step(), self.id)));
                (reply, error)
            }
            Err(error) => (lost(&error), Some(error)),
        }
    }

    async fn init(&self, expected: Option<ProducerId>) -> Result<Reply> {
        let expected = expected.unwrap_or(ProducerId { id: -1, epoch: -1 });
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX),
            producer_id: expected.id,
            producer_epoch: expected.epoch,
            ..InitProducerIdRequest::default()
        };
        let answer = self.coordinator(&request, Choice::Stable).await?;
        match ProducerId::answered(answer.producer_id, answer.producer_epoch) {
            None if answer.error_code == ErrorCode::NONE => Err(nameless()),
            producer => Ok(done(answer.error_code, producer)),
        }
    }

    async fn add_partitions(&self) -> Result<Reply> {
        let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
        for (_, name, index) in &self.partitions {
            match topics.iter_mut().find(|topic| topic.name == *name) {
                Some(topic) => topic.partitions.push(*index),
                None => topics.push(AddPartitionsToTxnTopic { name: name.clone(), partitions: vec![*index] }),
            }
        }
        let ProducerId { id, epoch } = self.request.producer;
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: id,
            v3_and_below_producer_epoch: epoch,
            v3_and_below_topics: topics,
            ..AddPartitionsToTxnRequest::default()
        };
        // From version 4 on it is a request of brokers.
        let answer = self.coordinator(&request, Choice::AtMost(3)).await?;
        let answered = |name: &Str, index: i32| {
            let topic = answer.results_by_topic_v3_and_below.iter().find(|topic| topic.name == *name)?;
            let part = topic.results_by_partition.iter().find(|part| part.partition_index == index)?;
            Some(part.partition_error_code)
        };
        // What the answer leaves out stays wanted.
        let parts = self.partitions.iter();
        let parts = parts.filter_map(|(number, name, index)| Some((*number, answered(name, *index)?)));
        Ok(Reply::Parts(parts.collect()))
    }

    async fn add_offsets(&self, group_id: Str) -> Result<Reply> {
        let ProducerId { id: producer_id, epoch: producer_epoch } = self.request.producer;
        let transactional_id = self.id.clone();
        let request = AddOffsetsToTxnRequest { transactional_id, producer_id, producer_epoch, group_id };
        Ok(done(self.coordinator(&request, Choice::Stable).await?.error_code, None))
    }

    async fn commit_offsets(&self) -> Result<Reply> {
        let Some((group, offsets)) = &self.offsets else { return Ok(Reply::Done(None)) };
        let (topics, named) = topics(&self.cluster.metadata(), offsets);
        let wanted = places(&topics);
        let choice = match self.request.version {
            Version::First => Choice::AtMost(4),
            Version::Second if named => Choice::Stable,
            Version::Second => Choice::AtMost(5),
        };
        let ProducerId { id: producer_id, epoch: producer_epoch } = self.request.producer;
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.clone(),
            group_id: group.group_id.clone(),
            producer_id,
            producer_epoch,
            generation_id_or_member_epoch: group.generation,
            member_id: group.member_id.clone(),
            group_instance_id: group.group_instance_id.clone(),
            topics,
        };
        let answer = self.send(KeyType::Group, &group.group_id, &request, choice).await?;
        let parts: Option<Vec<_>> = wanted.iter().map(|wanted| answered(&answer, wanted)).collect();
        for ((name, ..), (_, code)) in wanted.iter().zip(parts.iter().flatten()) {
            if code.refreshes_metadata() {
                // Its id may be that of a topic that is no more; the next attempt looks it up again.
                self.cluster.request_topic(name);
            }
        }
        // What is left out was not committed, as far as anybody knows.
        Ok(parts.map_or(Reply::Lost { maybe_sent: true }, Reply::Parts))
    }

    async fn end(&self, committed: bool) -> Result<Reply> {
        let ProducerId { id: producer_id, epoch: producer_epoch } = self.request.producer;
        let request = EndTxnRequest { transactional_id: self.id.clone(), producer_id, producer_epoch, committed };
        let choice = match self.request.version {
            Version::First => Choice::AtMost(4),
            Version::Second => Choice::Stable,
        };
        let answer = self.coordinator(&request, choice).await?;
        Ok(done(answer.error_code, ProducerId::answered(answer.producer_id, answer.producer_epoch)))
    }

    async fn describe(&self) -> Result<Reply> {
        let request = DescribeTransactionsRequest { transactional_ids: vec![self.id.clone()] };
        let answer = self.coordinator(&request, Choice::Stable).await?;
        let Some(state) = answer.transaction_states.first() else { return Ok(Reply::Lost { maybe_sent: true }) };
        Ok(match state.error_code {
            ErrorCode::NONE => {
                let owner = ProducerId { id: state.producer_id, epoch: state.producer_epoch };
                Reply::Described(owner, Phase::of(&state.transaction_state))
            }
            code => Reply::Refused(code),
        })
    }

    async fn coordinator<R: wire::Request>(&self, request: &R, choice: Choice) -> Result<R::Response> {
        self.send(KeyType::Transaction, &self.id, request, choice).await
    }

    async fn send<R: wire::Request>(
        &self,
        kind: KeyType,
        key: &str,
        request: &R,
        choice: Choice,
    ) -> Result<R::Response> {
        let route =
            Route { to: To::Coordinator(kind, key), traffic: Traffic::Other, choice, fresh: self.request.fresh };
        self.cluster.send(route, request, self.cluster.config().request_timeout).await
    }
}

/// The offsets by topic, and whether every topic's id is known.
fn topics(
    metadata: &Metadata,
    offsets: &[(TopicPartition, OffsetAndMetadata)],
) -> (Vec<TxnOffsetCommitRequestTopic>, bool) {
    let mut topics: Vec<TxnOffsetCommitRequestTopic> = Vec::new();
    for (partition, wanted) in offsets {
        let part = TxnOffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: wanted.offset,
            committed_leader_epoch: wanted.leader_epoch.unwrap_or(-1),
            committed_metadata: Some(wanted.metadata.as_str().into()),
        };
        match topics.iter_mut().find(|topic| topic.name == partition.topic) {
            Some(topic) => topic.partitions.push(part),
            None => {
                let topic_id = metadata.topic(&partition.topic).map_or(Uuid::default(), |topic| topic.id);
                let (name, partitions) = (partition.topic.clone(), vec![part]);
                topics.push(TxnOffsetCommitRequestTopic { name, topic_id, partitions });
            }
        }
    }
    let named = topics.iter().all(|topic| topic.topic_id != Uuid::default());
    (topics, named)
}

/// One partition of TxnOffsetCommit; versions name its topic in one of two ways.
type Place = (Str, Uuid, i32);

fn places(topics: &[TxnOffsetCommitRequestTopic]) -> Vec<Place> {
    let places = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|part| (topic.name.clone(), topic.topic_id, part.partition_index))
    });
    places.collect()
}

/// What the answer says of a partition; `None` if nothing.
fn answered(answer: &TxnOffsetCommitResponse, (name, id, index): &Place) -> Option<(usize, ErrorCode)> {
    // An answer by id names nothing.
    let is_it = |topic: &&TxnOffsetCommitResponseTopic| match topic.topic_id {
        Uuid(0) => topic.name == *name,
        topic_id => topic_id == *id,
    };
    let topic = answer.topics.iter().find(is_it)?;
    let part = topic.partitions.iter().find(|part| part.partition_index == *index)?;
    Some((0, part.error_code))
}

fn done(code: ErrorCode, producer: Option<ProducerId>) -> Reply {
    match code {
        ErrorCode::NONE => Reply::Done(producer),
        code => Reply::Refused(code),
    }
}

/// What a call without an answer means.
fn lost(error: &Error) -> Reply {
    match error.kind() {
        ErrorKind::UnsupportedVersion => Reply::Unsupported,
        // The lookup of the coordinator was refused for good.
        ErrorKind::Broker(code) if !code.is_retriable() => Reply::Refused(code),
        _ => Reply::Lost { maybe_sent: error.maybe_written() },
    }
}

fn worst(reply: &Reply) -> Option<ErrorCode> {
    match reply {
        Reply::Refused(code) => Some(*code),
        Reply::Parts(parts) => parts.iter().map(|(_, code)| *code).find(|code| *code != ErrorCode::NONE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::TxnOffsetCommitResponsePartition;

    fn topic(name: &str, id: u128, parts: &[(i32, ErrorCode)]) -> TxnOffsetCommitResponseTopic {
        let part = |&(partition_index, error_code)| TxnOffsetCommitResponsePartition { partition_index, error_code };
        let partitions = parts.iter().map(part).collect();
        TxnOffsetCommitResponseTopic { name: name.into(), topic_id: Uuid(id), partitions }
    }

    #[test]
    fn an_answer_about_offsets_is_matched_and_not_counted() {
        const STALE: ErrorCode = ErrorCode::UNKNOWN_TOPIC_ID;
        let wanted: [Place; 2] = [("a".into(), Uuid(7), 0), ("b".into(), Uuid(8), 3)];
        let fine = ErrorCode::NONE;
        let table = [
            (vec![topic("a", 0, &[(0, fine)]), topic("b", 0, &[(3, STALE)])], [Some(fine), Some(STALE)]),
            // Version 6 names topics by their ids alone.
            (vec![topic("", 8, &[(3, STALE)]), topic("", 7, &[(0, fine)])], [Some(fine), Some(STALE)]),
            // As many parts as were asked for, but not those.
            (vec![topic("a", 0, &[(0, fine), (0, fine)])], [Some(fine), None]),
            (vec![topic("a", 0, &[(1, fine)]), topic("", 9, &[(3, fine)])], [None, None]),
        ];
        for (topics, expected) in table {
            let answer = TxnOffsetCommitResponse { topics, ..TxnOffsetCommitResponse::default() };
            let found = wanted.each_ref().map(|wanted| answered(&answer, wanted).map(|(_, code)| code));
            assert_eq!(found, expected, "{answer:?}");
        }
    }
}
