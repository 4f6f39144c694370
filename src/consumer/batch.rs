//! What `poll` hands out: one record batch, whose records borrow from it.
//!
//! Rules this file keeps:
//! - a batch is checked whole (checksum, lengths, count) before it is handed out, so that reading it cannot fail;
//!   only turning a payload into a value can;
//! - a record costs a varint walk: no allocation, no copy, no count of references;
//! - records before the position are not the user's and are never seen (C13).

use std::{fmt, future::Future, sync::Arc};

use crate::{
    error::Result,
    machine::fetch::Cursor,
    record::{DecodedBatch, Headers, RecordIter, RecordView},
    serdes::{Bytes, Deserializer, Part, Target},
    types::Offset,
    wire::Str,
};

/// A deserializer in its place as the `K` or `V` of a [`Consumer`](super::Consumer): keys or values are read through
/// it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Typed<D>(pub D);

/// What can stand for `K` and `V`: [`Bytes`], which costs nothing, or [`Typed`].
pub trait Field: Send + Sync + sealed::Sealed {
    /// Whether payloads must be looked at before a batch is handed out.
    #[doc(hidden)]
    const MUST_PREPARE: bool;

    #[doc(hidden)]
    fn prepare(&self, target: Target<'_>, payload: &[u8]) -> impl Future<Output = Result<()>> + Send;

    #[doc(hidden)]
    fn is_ready(&self, target: Target<'_>, payload: &[u8]) -> bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Bytes {}
    impl<D> Sealed for super::Typed<D> {}
}

impl Field for Bytes {
    const MUST_PREPARE: bool = false;

    async fn prepare(&self, _target: Target<'_>, _payload: &[u8]) -> Result<()> {
        Ok(())
    }

    fn is_ready(&self, _target: Target<'_>, _payload: &[u8]) -> bool {
        true
    }
}

impl<D: Deserializer> Field for Typed<D> {
    const MUST_PREPARE: bool = true;

    fn prepare(&self, target: Target<'_>, payload: &[u8]) -> impl Future<Output = Result<()>> + Send {
        self.0.prepare(target, payload)
    }

    fn is_ready(&self, target: Target<'_>, payload: &[u8]) -> bool {
        self.0.is_ready(target, payload)
    }
}

/// Consecutive records of one partition, as the producer wrote them in one batch.
///
/// `for record in &batch` reads them. The batch keeps its memory alive until it is dropped; hold it no longer than
/// needed.
pub struct Batch<K = Bytes, V = Bytes> {
    pub(super) topic: Str,
    pub(super) partition: i32,
    pub(super) records: DecodedBatch,
    /// Records before this offset are not the user's.
    pub(super) from: Offset,
    pub(super) first: Offset,
    pub(super) last: Offset,
    pub(super) next: Offset,
    pub(super) len: usize,
    pub(super) high_watermark: Offset,
    pub(super) cursor: Cursor,
    pub(super) fields: Arc<(K, V)>,
}

impl<K, V> Batch<K, V> {
    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset of the first record.
    pub fn base_offset(&self) -> Offset {
        self.first
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.last
    }

    /// The position behind this batch: where reading goes on, and what to store for going on later. It can be greater
    /// than `last_offset() + 1` where the log was compacted.
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// How many records there are; never 0.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Always `false`: batches without a record are not handed out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The end of the partition's log as the last response told it before this batch was handed out.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The records in order.
    pub fn iter(&self) -> Records<'_, K, V> {
        Records { records: self.records.records(), batch: self }
    }
}

impl<K, V> fmt::Debug for Batch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Batch({}-{}, offsets {}..={}, {} records)",
            self.topic, self.partition, self.first, self.last, self.len
        )
    }
}

impl<'a, K, V> IntoIterator for &'a Batch<K, V> {
    type Item = Record<'a, K, V>;
    type IntoIter = Records<'a, K, V>;

    fn into_iter(self) -> Records<'a, K, V> {
        self.iter()
    }
}

/// The records of a [`Batch`].
pub struct Records<'a, K = Bytes, V = Bytes> {
    records: RecordIter<'a>,
    batch: &'a Batch<K, V>,
}

impl<'a, K, V> Iterator for Records<'a, K, V> {
    type Item = Record<'a, K, V>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a, K, V>> {
        loop {
            // The batch was walked once when it was decoded: there is no error to meet here.
            let view = self.records.next()?.ok()?;
            if view.offset >= self.batch.from {
                return Some(Record { view, batch: self.batch });
            }
        }
    }
}

/// One record. It borrows from its [`Batch`].
pub struct Record<'a, K = Bytes, V = Bytes> {
    view: RecordView<'a>,
    batch: &'a Batch<K, V>,
}

impl<'a, K, V> Record<'a, K, V> {
    /// Its place in the partition.
    pub fn offset(&self) -> Offset {
        self.view.offset
    }

    /// Milliseconds since 1970, as the topic's `message.timestamp.type` says: set by the producer, or by the broker
    /// when it appended the record. −1 where the producer set none.
    pub fn timestamp(&self) -> i64 {
        self.view.timestamp
    }

    /// The key as it stands in the log; `None` if there is none.
    pub fn key_bytes(&self) -> Option<&'a [u8]> {
        self.view.key
    }

    /// The value as it stands in the log; `None` for a tombstone.
    pub fn value_bytes(&self) -> Option<&'a [u8]> {
        self.view.value
    }

    /// The headers in order; a key may occur more than once.
    pub fn headers(&self) -> Headers<'a> {
        self.view.headers()
    }

    /// The topic's name.
    pub fn topic(&self) -> &'a str {
        &self.batch.topic
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.batch.partition
    }
}

impl<'a, V> Record<'a, Bytes, V> {
    /// The key; `None` if there is none.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.view.key
    }
}

impl<'a, K> Record<'a, K, Bytes> {
    /// The value; `None` for a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.view.value
    }
}

impl<'a, D: Deserializer, V> Record<'a, Typed<D>, V> {
    /// The key, read by the consumer's deserializer.
    ///
    /// # Errors
    /// Of kind `Serialization`: the bytes are not what the deserializer takes.
    pub fn key(&self) -> Result<D::Output<'a>> {
        let target = Target { topic: &self.batch.topic, part: Part::Key };
        self.batch.fields.0.0.deserialize(target, self.view.key)
    }
}

impl<'a, K, D: Deserializer> Record<'a, K, Typed<D>> {
    /// The value, read by the consumer's deserializer.
    ///
    /// # Errors
    /// Of kind `Serialization`: the bytes are not what the deserializer takes.
    pub fn value(&self) -> Result<D::Output<'a>> {
        let target = Target { topic: &self.batch.topic, part: Part::Value };
        self.batch.fields.1.0.deserialize(target, self.view.value)
    }
}

impl<K, V> fmt::Debug for Record<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = |part: Option<&[u8]>| part.map(<[u8]>::len);
        f.debug_struct("Record")
            .field("offset", &self.view.offset)
            .field("timestamp", &self.view.timestamp)
            .field("key_len", &len(self.view.key))
            .field("value_len", &len(self.view.value))
            .finish()
    }
}

impl<K: Field, V: Field> Batch<K, V> {
    /// Waits until the deserializers can take every payload, for example for a schema by its id.
    pub(super) async fn prepare(&self) -> Result<()> {
        if K::MUST_PREPARE || V::MUST_PREPARE {
            let (key, value) = &*self.fields;
            for record in self {
                prepare(key, Target { topic: &self.topic, part: Part::Key }, record.view.key).await?;
                prepare(value, Target { topic: &self.topic, part: Part::Value }, record.view.value).await?;
            }
        }
        Ok(())
    }
}

async fn prepare<F: Field>(field: &F, target: Target<'_>, payload: Option<&[u8]>) -> Result<()> {
    match payload {
        Some(payload) if F::MUST_PREPARE && !field.is_ready(target, payload) => field.prepare(target, payload).await,
        _ => Ok(()),
    }
}
