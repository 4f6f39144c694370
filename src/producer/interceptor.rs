//! What a program does to every record on its way in, and hears of every batch on its way out.
//!
//! Rules this file keeps:
//! - an interceptor that panics harms nobody but itself: what it was about to add is forgotten, and the record goes on;
//! - without an interceptor a record pays for one look at an empty list; with one, adding headers allocates nothing in
//!   the long run;
//! - a record is shown once per call, however long the call then waits.

use std::{
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    record::Header,
    types::Offset,
    wire::Str,
};

use super::{accumulator::Bytes, delivery::BatchAck};

/// Sees every record before it is enqueued and every batch when its fate is known. Java: `ProducerInterceptor`, in
/// `interceptor.classes`.
///
/// Two things need it most: headers that every record is to carry, such as those of a trace, and an audit of what was
/// written.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use milena::producer::{OutgoingRecord, ProducerInterceptor, SettledBatch};
///
/// #[derive(Default)]
/// struct Audit {
///     lost: AtomicU64,
/// }
///
/// impl ProducerInterceptor for Audit {
///     fn on_enqueue(&self, record: &mut OutgoingRecord<'_>) {
///         record.add_header("source", b"shop");
///     }
///
///     fn on_acknowledgement(&self, batch: &SettledBatch<'_>) {
///         if batch.error.is_some() {
///             self.lost.fetch_add(u64::from(batch.records.unsigned_abs()), Ordering::Relaxed);
///         }
///     }
/// }
/// ```
///
/// Both methods are called in the middle of the work, `on_enqueue` by each caller and `on_acknowledgement` by the
/// producer's one task, so they should be quick and must not block. A panic in one is caught (unless the program aborts
/// on panics) and logged; the record or the batch goes on.
pub trait ProducerInterceptor: Send + Sync + 'static {
    /// A record is about to be enqueued: serialized, and not yet in a batch. Called once per call of `send`, `enqueue`
    /// and `try_enqueue`, and once per record of `enqueue_batch`. If the call fails after it, its caller has the error;
    /// `on_acknowledgement` does not hear of that record. Java: `onSend`.
    fn on_enqueue(&self, record: &mut OutgoingRecord<'_>) {
        let _ = record;
    }

    /// A batch was acknowledged, or failed for good. Called before those who wait for it wake. Java:
    /// `onAcknowledgement`, which is called per record.
    fn on_acknowledgement(&self, batch: &SettledBatch<'_>) {
        let _ = batch;
    }
}

/// A record that is about to be enqueued.
pub struct OutgoingRecord<'a> {
    topic: &'a str,
    partition: Option<i32>,
    bytes: Bytes<'a>,
    added: &'a mut Added,
}

/// A batch whose fate is known.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SettledBatch<'a> {
    /// The topic.
    pub topic: &'a Str,
    /// The partition.
    pub partition: i32,
    /// How many records it has.
    pub records: i32,
    /// The offset of its first record; `None` when it failed, with acks=0, or when the broker had the batch already and
    /// no longer knew where.
    pub base_offset: Option<Offset>,
    /// When the broker wrote it, in milliseconds since 1970, if the topic keeps log-append time.
    pub log_append_time: Option<i64>,
    /// Why it failed; [`Error::maybe_written`] says whether it may stand in the log all the same.
    pub error: Option<&'a Error>,
}

impl<'a> SettledBatch<'a> {
    pub(super) fn new(topic: &'a Str, partition: i32, records: i32, settled: &'a Result<BatchAck>) -> Self {
        let ack = settled.as_ref().ok();
        let offset = |ack: &BatchAck| (ack.base_offset >= 0).then_some(ack.base_offset);
        let time = |ack: &BatchAck| (ack.log_append_time >= 0).then_some(ack.log_append_time);
        let (base_offset, log_append_time) = (ack.and_then(offset), ack.and_then(time));
        Self { topic, partition, records, base_offset, log_append_time, error: settled.as_ref().err() }
    }
}

impl OutgoingRecord<'_> {
    /// The topic.
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// The partition that its sender named.
    pub fn partition(&self) -> Option<i32> {
        self.partition
    }

    /// The time that its sender named, in milliseconds since 1970.
    pub fn timestamp(&self) -> Option<i64> {
        self.bytes.timestamp
    }

    /// The key as it will be written.
    pub fn key(&self) -> Option<&[u8]> {
        self.bytes.key
    }

    /// The value as it will be written.
    pub fn value(&self) -> Option<&[u8]> {
        self.bytes.value
    }

    /// The headers so far: the sender's, then those that were added.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.bytes.headers.iter().copied().chain(self.added.iter())
    }

    /// Adds a header behind the others. Names may repeat.
    pub fn add_header(&mut self, key: &str, value: impl AsRef<[u8]>) {
        self.added.push(key, Some(value.as_ref()));
    }

    /// Adds a header whose value is null.
    pub fn add_null_header(&mut self, key: &str) {
        self.added.push(key, None);
    }
}

impl fmt::Debug for OutgoingRecord<'_> {
    // Neither key nor value: they may be nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingRecord").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// A producer's interceptors, in the order in which they were set.
#[derive(Clone, Default)]
pub(crate) struct Interceptors(Vec<Arc<dyn ProducerInterceptor>>);

impl Interceptors {
    pub(super) fn push(&mut self, interceptor: impl ProducerInterceptor) {
        self.0.push(Arc::new(interceptor));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shows them a record. What they add is the answer.
    pub(super) fn show(&self, topic: &str, partition: Option<i32>, bytes: Bytes<'_>) -> Added {
        let mut added = Added::fresh();
        for (number, interceptor) in self.0.iter().enumerate() {
            let before = added.0.len();
            let mut record = OutgoingRecord { topic, partition, bytes, added: &mut added };
            if catch_unwind(AssertUnwindSafe(|| interceptor.on_enqueue(&mut record))).is_err() {
                added.0.truncate(before);
                tracing::warn!(topic, number, "a producer interceptor has panicked over a record");
            }
        }
        added
    }

    /// Tells them of a batch.
    pub(super) fn tell(&self, batch: &SettledBatch<'_>) {
        for (number, interceptor) in self.0.iter().enumerate() {
            if catch_unwind(AssertUnwindSafe(|| interceptor.on_acknowledgement(batch))).is_err() {
                let (topic, partition) = (batch.topic, batch.partition);
                tracing::warn!(%topic, partition, number, "a producer interceptor has panicked over a batch");
            }
        }
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} interceptors", self.0.len())
    }
}

/// Headers that interceptors added to one record: for each the lengths of key and value, then both.
#[derive(Debug, Default)]
pub(super) struct Added(Vec<u8>);

impl Added {
    fn fresh() -> Self {
        Self(ADDED.try_with(Cell::take).unwrap_or_default())
    }

    fn push(&mut self, key: &str, value: Option<&[u8]>) {
        let length = value.map_or(NULL, |value| value.len() as u64);
        self.0.extend_from_slice(&(key.len() as u64).to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(value.unwrap_or_default());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = Header<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (key, after) = rest.split_first_chunk()?;
            let (value, after) = after.split_first_chunk()?;
            let (key, value) = (u64::from_le_bytes(*key) as usize, u64::from_le_bytes(*value));
            let (key, after) = after.split_at_checked(key)?;
            let (bytes, after) = after.split_at_checked(if value == NULL { 0 } else { value as usize })?;
            rest = after;
            Some(Header { key: std::str::from_utf8(key).ok()?, value: (value != NULL).then_some(bytes) })
        })
    }

    /// Calls `then` with the record as it is with these headers.
    pub(super) fn with<R>(&self, record: Bytes<'_>, then: impl FnOnce(Bytes<'_>) -> R) -> R {
        if self.is_empty() {
            return then(record);
        }
        let mut headers = recycled(HEADERS.try_with(Cell::take).unwrap_or_default());
        headers.extend(record.headers.iter().copied().chain(self.iter()));
        let outcome = then(Bytes { headers: &headers, ..record });
        // A thread that is ending keeps nothing.
        let _ = HEADERS.try_with(|kept| kept.set(recycled(headers)));
        outcome
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        if (1..=MOST_KEPT).contains(&buffer.capacity()) {
            let _ = ADDED.try_with(|kept| kept.set(buffer));
        }
    }
}

/// An empty list in the same memory: collecting an iterator of its own elements reuses it.
fn recycled<'to>(mut headers: Vec<Header<'_>>) -> Vec<Header<'to>> {
    headers.clear();
    headers.into_iter().map(|_| Header { key: "", value: None }).collect()
}

thread_local! {
    static ADDED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static HEADERS: Cell<Vec<Header<'static>>> = const { Cell::new(Vec::new()) };
}

/// The length of a value that is null.
const NULL: u64 = u64::MAX;
/// A larger buffer is not kept.
const MOST_KEPT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_headers_come_behind_the_others_and_as_they_were_given() {
        let mut added = Added::default();
        added.push("trace", Some(b"\x00\xff"));
        added.push("", None);
        added.push("", Some(b""));
        let own = [Header { key: "own", value: Some(b"1") }];
        let bytes = Bytes { timestamp: None, key: None, value: None, headers: &own };
        let all = |headers: &[Header<'_>]| {
            let pair = |header: &Header<'_>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
            headers.iter().map(pair).collect::<Vec<_>>()
        };
        let some = |key: &str, value: &[u8]| (key.to_owned(), Some(value.to_vec()));
        let expected = [some("own", b"1"), some("trace", b"\x00\xff"), (String::new(), None), some("", b"")];
        assert_eq!(added.with(bytes, |bytes| all(bytes.headers)), expected);
    }

    #[test]
    fn a_list_is_used_again() {
        let headers = vec![Header { key: "a", value: None }; 20];
        let (place, capacity) = (headers.as_ptr() as usize, headers.capacity());
        let again = recycled(headers);
        assert_eq!((again.as_ptr() as usize, again.capacity(), again.len()), (place, capacity, 0));
    }
}
