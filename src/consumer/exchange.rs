//! Plans become requests, responses become replies: the wire's view of fetching, and no decision.
//!
//! Rules this file keeps:
//! - what a broker says about a partition that was not asked for is not believed;
//! - batches are told apart by their headers only; checksums and contents are looked at in `poll`, batch by batch;
//! - a header that cannot be read ends its partition's reply with the error in its place, so that what stands before it
//!   is delivered first.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind, Result},
    machine::fetch::{
        AbortedFilter, BatchView, Control, FetchPart, FetchPlan, FetchReply, Leader, LookupPlan, OffsetReply, Piece,
        Watermarks,
    },
    record::{Batches, ControlType, DecodeScratch, RawBatch},
    types::{BrokerId, Offset},
    wire::{
        ErrorCode, Str, Uuid,
        messages::{
            FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, ListOffsetsPartition,
            ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic, PartitionData,
        },
    },
};

use super::IsolationLevel;

/// What every Fetch request of a consumer says.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) min_bytes: usize,
    pub(super) max_wait: Duration,
    pub(super) isolation: IsolationLevel,
    pub(super) rack: Str,
    /// How long an answer may take, `max_wait` apart.
    pub(super) timeout: Duration,
}

/// One batch as it lies in a response.
#[derive(Debug)]
pub(super) enum Fetched {
    Batch {
        batch: RawBatch,
        /// A control batch, or one of an aborted transaction: passed, not handed out.
        hidden: bool,
    },
    /// Here should be a batch, and is none.
    Damaged(Error),
}

pub(super) fn fetch_request(plan: &FetchPlan, terms: &Terms) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for part in &plan.parts {
        let partition = FetchPartition {
            partition: part.name.partition,
            current_leader_epoch: part.leader_epoch,
            fetch_offset: part.offset,
            partition_max_bytes: clamp(part.max_bytes),
            ..FetchPartition::default()
        };
        // Partitions of a topic stand together but for the place where the rotation cut the list.
        match topics.iter_mut().rfind(|topic| topic.topic == part.name.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: part.name.topic.clone(),
                topic_id: part.topic_id,
                partitions: vec![partition],
            }),
        }
    }
    FetchRequest {
        max_wait_ms: terms.max_wait.as_millis().try_into().unwrap_or(i32::MAX),
        min_bytes: clamp(terms.min_bytes),
        max_bytes: clamp(plan.max_bytes),
        isolation_level: terms.isolation.code(),
        // No session (KIP-227): every request is a full one. `machine/session` will have its place here.
        session_id: 0,
        session_epoch: -1,
        topics,
        rack_id: terms.rack.clone(),
        ..FetchRequest::default()
    }
}

/// The version to fetch with: topics go by id from 13 on (KIP-516), so all ids must be known.
pub(super) fn fetch_version(plan: &FetchPlan, offered: i16) -> i16 {
    let nameless = plan.parts.iter().any(|part| part.topic_id == Uuid::default());
    if nameless { offered.min(LAST_BY_NAME) } else { offered }
}

/// What a response says about the partitions of the plan.
///
/// # Errors
/// The broker refused the request as a whole.
pub(super) fn read_fetch(plan: &FetchPlan, response: FetchResponse, terms: &Terms) -> Result<Vec<FetchReply<Fetched>>> {
    if response.error_code != ErrorCode::NONE {
        return Err(Error::broker(response.error_code, format_args!("fetching from broker {}", plan.broker)));
    }
    let mut asked = Asked { parts: &plan.parts, next: 0 };
    let mut replies = Vec::with_capacity(plan.parts.len());
    for mut topic in response.responses {
        for data in std::mem::take(&mut topic.partitions) {
            let Some(part) = asked.find(&topic, data.partition_index) else { continue };
            replies.push(read_partition(part, data, terms));
        }
    }
    Ok(replies)
}

fn read_partition(part: &FetchPart, data: PartitionData, terms: &Terms) -> FetchReply<Fetched> {
    let watermarks =
        Watermarks { high: data.high_watermark, stable: data.last_stable_offset, start: data.log_start_offset };
    let leader = (data.current_leader.leader_id >= 0).then_some(Leader {
        broker: Some(BrokerId(data.current_leader.leader_id)),
        epoch: data.current_leader.leader_epoch,
        topic_id: part.topic_id,
    });
    let records = data.records.map(|records| records.into_bytes()).unwrap_or_default();
    let aborted = data.aborted_transactions.unwrap_or_default();
    let filter = match terms.isolation {
        IsolationLevel::ReadUncommitted => AbortedFilter::default(),
        IsolationLevel::ReadCommitted => {
            AbortedFilter::new(aborted.iter().map(|transaction| (transaction.producer_id, transaction.first_offset)))
        }
    };
    FetchReply {
        slot: part.slot,
        error: data.error_code,
        watermarks,
        leader,
        follower: Some(BrokerId(data.preferred_read_replica)).filter(|broker| broker.0 >= 0),
        bytes: records.len(),
        pieces: read_pieces(records, part.offset, filter),
    }
}

fn read_pieces(records: Bytes, asked: Offset, mut filter: AbortedFilter) -> Vec<Piece<Fetched>> {
    let mut pieces = Vec::new();
    let mut expected = asked;
    for batch in Batches::new(records) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                let damaged = Fetched::Damaged(error);
                pieces.push(Piece {
                    base_offset: expected,
                    next_offset: expected.saturating_add(1),
                    bytes: 0,
                    batch: damaged,
                });
                break;
            }
        };
        let (base_offset, next_offset, bytes) =
            (batch.base_offset, batch.last_offset().saturating_add(1), batch.size());
        let hidden = filter.hides(view(&batch));
        pieces.push(Piece { base_offset, next_offset, bytes, batch: Fetched::Batch { batch, hidden } });
        expected = next_offset.max(expected);
    }
    pieces
}

fn view(batch: &RawBatch) -> BatchView {
    BatchView {
        last_offset: batch.last_offset(),
        producer_id: batch.producer_id,
        transactional: batch.is_transactional(),
        control: batch.is_control().then(|| control(batch)),
    }
}

/// The kind of a control batch (KIP-98). One that cannot be read ends nobody's transaction.
fn control(batch: &RawBatch) -> Control {
    let marker = batch.decode(&mut DecodeScratch::new(0), CONTROL_LIMIT).and_then(|decoded| decoded.control());
    match marker {
        Ok(Some(marker)) if marker.kind == ControlType::ABORT => Control::Abort,
        _ => Control::Other,
    }
}

pub(super) fn lookup_request(plan: &LookupPlan, isolation: IsolationLevel, timeout: Duration) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for part in &plan.parts {
        let partition = ListOffsetsPartition {
            partition_index: part.name.partition,
            current_leader_epoch: part.leader_epoch,
            timestamp: part.timestamp,
        };
        match topics.iter_mut().rfind(|topic| topic.name == part.name.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(ListOffsetsTopic { name: part.name.topic.clone(), partitions: vec![partition] }),
        }
    }
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation.code(),
        topics,
        timeout_ms: timeout.as_millis().try_into().unwrap_or(i32::MAX),
    }
}

pub(super) fn read_offsets(plan: &LookupPlan, response: &ListOffsetsResponse) -> Vec<OffsetReply> {
    let mut replies = Vec::with_capacity(plan.parts.len());
    for topic in &response.topics {
        for answer in &topic.partitions {
            let asked = |name: &crate::types::TopicPartition| {
                name.topic == topic.name && name.partition == answer.partition_index
            };
            let Some(part) = plan.parts.iter().find(|part| asked(&part.name)) else { continue };
            replies.push(OffsetReply { slot: part.slot, error: answer.error_code, offset: answer.offset });
        }
    }
    replies
}

/// The partitions that were asked for. Responses keep the order, so the next one is nearly always the one meant.
struct Asked<'a> {
    parts: &'a [FetchPart],
    next: usize,
}

impl<'a> Asked<'a> {
    fn find(&mut self, topic: &FetchableTopicResponse, partition: i32) -> Option<&'a FetchPart> {
        let by_id = topic.topic_id != Uuid::default();
        let matches = |part: &FetchPart| {
            let same = if by_id { part.topic_id == topic.topic_id } else { part.name.topic == topic.topic };
            same && part.name.partition == partition
        };
        let count = self.parts.len();
        let index = (0..count).map(|step| (self.next + step) % count).find(|index| matches(&self.parts[*index]))?;
        self.next = index + 1;
        self.parts.get(index)
    }
}

fn clamp(bytes: usize) -> i32 {
    bytes.try_into().unwrap_or(i32::MAX)
}

/// An error of a reply that holds what it must not hold.
pub(super) fn protocol(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, what)
}

/// The last version of Fetch that names topics.
const LAST_BY_NAME: i16 = 12;
/// No control record is larger.
const CONTROL_LIMIT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain message of format 1. Its checksum does not cover its offset.
    const MESSAGE: &str = "00000000000000000000001b565adc8c01000000015ac2acf800ffffffff00000005616c706861";
    /// A wrapper of format 1: gzip, the records at 101 and 104.
    const WRAPPER: &str = "000000000000006800000068cb17c55a01010000015d3ef7981effffffff000000521f8b08000000000000ff636000034620965be0bf7a3d88c1186bf77d860890c19c9d5a09a458938a12cbf2210a19588078db8eb65781709572ff8100c859909c9158949399aa30586900ecb89ee9ec000000";
    /// A batch of format 2 with offsets 100 to 104, of which the log cleaner left the record at 101.
    const TAIL: &str = "00000000000000640000004f0000000502c9a4c1270003000000040000015d3ef798140000015d3ef79814ffffffffffffffffffffffffffff0000000104224d186040820f0000801c000002066b65790a627261766f0000000000";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn at(offset: i64, hex: &str) -> Vec<u8> {
        let mut bytes = bytes(hex);
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes
    }

    fn pieces(region: Vec<u8>, asked: Offset) -> Vec<(Offset, Offset, usize)> {
        let pieces = read_pieces(region.into(), asked, AbortedFilter::default());
        let size = |piece: &Piece<Fetched>| match &piece.batch {
            Fetched::Batch { batch, hidden: false } => batch.size(),
            other => panic!("{other:?}"),
        };
        pieces.iter().map(|piece| (piece.base_offset, piece.next_offset, size(piece))).collect()
    }

    #[test]
    fn messages_of_old_formats_are_pieces_like_batches() {
        let region = [at(90, MESSAGE), at(93, MESSAGE), bytes(WRAPPER), at(110, MESSAGE)].concat();
        let (plain, wrapper) = (MESSAGE.len() / 2, WRAPPER.len() / 2);
        // What is owed of a wrapper begins where the piece before it ended: its own first offset is not known yet.
        assert_eq!(pieces(region, 90), [(90, 94, 2 * plain), (94, 105, wrapper), (110, 111, plain)]);
    }

    #[test]
    fn c2_a_position_passes_the_tail_that_compaction_removed() {
        assert_eq!(pieces(bytes(TAIL), 100), [(100, 105, TAIL.len() / 2)]);
    }
}
