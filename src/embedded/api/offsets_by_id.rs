//! TxnOffsetCommit, also in version 6, which `kafka-protocol` does not know yet (KIP-1319, Kafka 4.4).
//!
//! Rules this file keeps:
//! - version 6 is version 5 with a topic's id where its name was; what the request asks for is the same;
//! - an id that no topic has is answered by UNKNOWN_TOPIC_ID for each of its partitions, as Produce and Fetch answer it;
//! - [`guard`](super::super::guard) has walked the body before, so its counts are no larger than what follows them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        GroupId, ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    },
    protocol::{Decodable, StrBytes},
};
use uuid::Uuid;

use super::{Call, Read, Serve};
use crate::embedded::reply::{Body, Unanswered};

/// A request of any version. Of version 6, the ids of its topics in their order; their names are empty.
#[derive(Debug)]
pub(super) struct OffsetsOfTransaction {
    request: TxnOffsetCommitRequest,
    ids: Vec<Uuid>,
}

impl Read for OffsetsOfTransaction {
    fn read(body: &mut Bytes, version: i16) -> Option<Self> {
        if version < BY_ID {
            return Some(Self { request: TxnOffsetCommitRequest::decode(body, version).ok()?, ids: Vec::new() });
        }
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(text(body)??))
            .with_group_id(GroupId(text(body)??))
            .with_producer_id(ProducerId(body.try_get_i64().ok()?))
            .with_producer_epoch(body.try_get_i16().ok()?)
            .with_generation_id(body.try_get_i32().ok()?)
            .with_member_id(text(body)??)
            .with_group_instance_id(text(body)?);
        let (mut ids, mut topics) = (Vec::new(), Vec::new());
        for _ in 1..varint(body)? {
            ids.push(Uuid::from_slice(&take(body, 16)?).ok()?);
            let mut partitions = Vec::new();
            for _ in 1..varint(body)? {
                partitions.push(partition(body)?);
            }
            skip_tags(body)?;
            topics.push(TxnOffsetCommitRequestTopic::default().with_partitions(partitions));
        }
        skip_tags(body)?;
        Some(Self { request: request.with_topics(topics), ids })
    }
}

impl Serve for OffsetsOfTransaction {
    fn names(&self, call: &Call, topic: &str) -> bool {
        let mut by_id = self.ids.iter().filter_map(|id| call.shared.topics.by_id(id));
        self.request.topics.iter().any(|named| named.name.as_str() == topic) || by_id.any(|known| known.name == topic)
    }

    async fn serve(mut self, call: &Call) -> Result<Option<Body>, Unanswered> {
        // A name that no topic can have stands for an id that none has.
        for (topic, id) in self.request.topics.iter_mut().zip(&self.ids) {
            let name = call.shared.topics.by_id(id).map(|known| known.name.clone()).unwrap_or_default();
            topic.name = TopicName(StrBytes::from_string(name));
        }
        let response = call.commit_offsets(&self.request);
        if call.version < BY_ID {
            return call.encode(&response);
        }
        let mut body = Body::default();
        body.splice(self.by_id(&response));
        Ok(Some(body))
    }
}

impl OffsetsOfTransaction {
    /// The response as version 6 has it.
    fn by_id(&self, response: &TxnOffsetCommitResponse) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_i32(response.throttle_time_ms);
        put_count(&mut bytes, response.topics.len());
        for (topic, id) in response.topics.iter().zip(&self.ids) {
            bytes.put_slice(id.as_bytes());
            put_count(&mut bytes, topic.partitions.len());
            for partition in &topic.partitions {
                let code = partition.error_code;
                let is_unknown = topic.name.is_empty() && code == ResponseError::UnknownTopicOrPartition.code();
                bytes.put_i32(partition.partition_index);
                bytes.put_i16(if is_unknown { ResponseError::UnknownTopicId.code() } else { code });
                bytes.put_u8(NO_TAGS);
            }
            bytes.put_u8(NO_TAGS);
        }
        bytes.put_u8(NO_TAGS);
        bytes.freeze()
    }
}

fn partition(body: &mut Bytes) -> Option<TxnOffsetCommitRequestPartition> {
    let read = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(body.try_get_i32().ok()?)
        .with_committed_offset(body.try_get_i64().ok()?)
        .with_committed_leader_epoch(body.try_get_i32().ok()?)
        .with_committed_metadata(text(body)?);
    skip_tags(body)?;
    Some(read)
}

/// A compact string; `Some(None)` is null.
fn text(body: &mut Bytes) -> Option<Option<StrBytes>> {
    match varint(body)? {
        0 => Some(None),
        size => StrBytes::from_utf8(take(body, size as usize - 1)?).ok().map(Some),
    }
}

fn varint(body: &mut Bytes) -> Option<u32> {
    let mut value = 0;
    for shift in (0..32).step_by(7) {
        let byte = body.try_get_u8().ok()?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take(body: &mut Bytes, size: usize) -> Option<Bytes> {
    (size <= body.len()).then(|| body.split_to(size))
}

/// As an unsigned varint of one more than it is.
fn put_count(bytes: &mut BytesMut, count: usize) {
    let mut left = count + 1;
    while left >= 0x80 {
        bytes.put_u8(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.put_u8(left as u8);
}

fn skip_tags(body: &mut Bytes) -> Option<()> {
    for _ in 0..varint(body)? {
        let _tag = varint(body)?;
        let size = varint(body)?;
        take(body, size as usize)?;
    }
    Some(())
}

/// The first version that names topics by id alone.
const BY_ID: i16 = 6;
const NO_TAGS: u8 = 0;
