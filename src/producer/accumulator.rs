//! Where records wait: one open batch per partition, filled by the callers themselves.
//!
//! Rules this file keeps:
//! - a caller writes its record straight into the partition's open batch, in final wire bytes, under that partition's
//!   lock and no other; per record there is no allocation, no clock call that enters the kernel, no message to a task;
//! - the sender is woken when a batch is begun or sealed, never per record;
//! - a partition that closes refuses under the same lock under which it would have accepted (P12);
//! - memory is counted before it is used, chunk by chunk, and given back when the batch is settled. Not counted: what
//!   compressing and splitting take besides, some copies of a batch for each worker and a chunk for each half.

use std::{
    pin::pin,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use crate::{
    error::{Error, ErrorKind, Result},
    record::{AppendError, BatchBuilder, ChunkPool, Header, chunk_size},
};

use super::{
    clock::Clock,
    delivery::{Cell, Delivery, Settler},
    interceptor::Added,
    partition::{Open, Partition, PartitionState},
    partitioner::{Choice, Partitioning},
    topic::Topic,
};

/// What all partitions of a producer share.
#[derive(Debug)]
pub(super) struct Accumulator {
    pub(super) batch_size: usize,
    pub(super) max_request_size: usize,
    partitioning: Partitioning,
    /// Batches are compressed: what callers append is not what is summed.
    compresses: bool,
    clock: Clock,
    memory: Semaphore,
    /// With less memory free than this, callers that fill batches are slowed down.
    comfort: usize,
    relief: Notify,
    pool: ChunkPool,
    ready: Mutex<Vec<usize>>,
    pub(super) wake: Notify,
    /// Callers that wait for memory: while there are any, no batch waits for its linger (P13).
    blocked: AtomicUsize,
    /// A caller found no memory and did not wait: until some is given back, it is as if it had.
    hurried: AtomicBool,
    /// A batch was sealed, and no caller has given way to the sender since.
    owes_turn: AtomicBool,
    closed: AtomicBool,
    closing: Notify,
    /// Why the producer cannot go on, if that is why it is closed.
    fatal: OnceLock<Error>,
}

/// One record's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [Header<'a>],
}

/// One caller's attempt to append: what it brings, and what was in its way. Apart from the delivery, which is small
/// enough to be returned in registers: every record has one, and seldom an obstacle.
#[derive(Debug, Default)]
pub(super) struct Attempt<'a> {
    /// Memory that the caller has waited for; what is left of it returns when this is dropped.
    pub(super) permit: Option<SemaphorePermit<'a>>,
    /// What was in the way of the last one without a delivery.
    pub(super) obstacle: Obstacle,
    /// What interceptors added to the record, once they have seen it.
    pub(super) added: Option<Added>,
}

/// Why a record does not stand in a batch.
#[derive(Debug, Default)]
pub(super) enum Obstacle {
    /// Its topic is not known.
    #[default]
    Unknown,
    /// So many bytes of memory have to be had first.
    NoMemory(usize),
    /// The open batch was full and is sealed; a record that may go anywhere should go elsewhere.
    Full,
    /// The record is too large, there is no such partition, or the producer is closed.
    Refused(Error),
}

impl Accumulator {
    pub(super) fn new(batch_size: usize, max_request_size: usize, memory: usize, clock: Clock) -> Self {
        Self {
            clock,
            batch_size,
            max_request_size,
            partitioning: Partitioning::Default,
            compresses: false,
            memory: Semaphore::new(memory.min(Semaphore::MAX_PERMITS)),
            comfort: memory - (memory / 2).min(COMFORTABLE.max(batch_size.saturating_mul(4))),
            relief: Notify::new(),
            // What the buffer may hold stays with the producer: fresh memory costs more than filling it.
            pool: ChunkPool::new(memory),
            ready: Mutex::default(),
            wake: Notify::new(),
            blocked: AtomicUsize::new(0),
            hurried: AtomicBool::new(false),
            owes_turn: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            fatal: OnceLock::new(),
        }
    }

    pub(super) fn with_partitioning(self, partitioning: Partitioning) -> Self {
        Self { partitioning, ..self }
    }

    pub(super) fn with_compression(self, compresses: bool) -> Self {
        Self { compresses, ..self }
    }

    /// Appends a record to the partition that was asked for, that the partitioner names, or whose turn it is. `None`: see
    /// the obstacle.
    pub(super) fn append(
        &self,
        topic: &Topic,
        partition: Option<i32>,
        record: &Bytes<'_>,
        attempt: &mut Attempt<'_>,
    ) -> Option<Delivery> {
        let len = record.len();
        if len + RECORD_OVERHEAD > self.max_request_size
            && let Err(error) = self.check_size(topic, record)
        {
            return attempt.refuse(error);
        }
        let choice = match partition {
            Some(index) => Choice::Partition(index),
            None => match self.partitioning.choose(topic, record.key, record.value) {
                Ok(choice) => choice,
                Err(error) => return attempt.refuse(error),
            },
        };
        let Choice::Partition(index) = choice else { return self.append_anywhere(topic, record, len, attempt) };
        let target = match topic.partition(index) {
            Ok(target) => target,
            Err(error) => return attempt.refuse(error),
        };
        let delivery = self.place(target, record, len, attempt, true);
        if delivery.is_none() && partition.is_none() {
            self.partitioning.take_back(topic);
        }
        delivery
    }

    /// Without a key: the partition whose turn it is, the next one when its batch is full (KIP-794).
    fn append_anywhere(
        &self,
        topic: &Topic,
        record: &Bytes<'_>,
        len: usize,
        attempt: &mut Attempt<'_>,
    ) -> Option<Delivery> {
        let mut moved = false;
        loop {
            let partition = topic.sticky.current(topic, self.batch_size);
            if let Some(delivery) = self.place(partition, record, len, attempt, moved) {
                topic.sticky.count(len);
                return Some(delivery);
            }
            if moved || !matches!(attempt.obstacle, Obstacle::Full) {
                return None;
            }
            moved = true;
            self.list(partition);
            topic.sticky.move_on(topic);
        }
    }

    /// Tries one partition. With `stay`, a full batch is sealed and the record begins the next one.
    fn place(
        &self,
        partition: &Partition,
        record: &Bytes<'_>,
        len: usize,
        attempt: &mut Attempt<'_>,
        stay: bool,
    ) -> Option<Delivery> {
        let mut state = partition.state();
        if self.closed.load(Ordering::Acquire) {
            return attempt.refuse(self.refusal());
        }
        let mut sealed = false;
        if let Some(open) = &mut state.open {
            let limit = self.batch_size.min(partition.limit());
            if let Some(delivery) = self.join(open, limit, record, len, attempt) {
                return Some(delivery);
            }
            if !matches!(attempt.obstacle, Obstacle::Full) {
                return None;
            }
            state.seal();
            self.owes_turn.store(true, Ordering::Relaxed);
            if !stay {
                return None;
            }
            sealed = true;
        }
        let begun = self.begin(partition, &mut state, record, len, attempt);
        drop(state);
        if sealed || begun.is_some() {
            self.list(partition);
        }
        begun
    }

    /// Appends to the open batch.
    #[inline]
    fn join(
        &self,
        open: &mut Open,
        limit: usize,
        record: &Bytes<'_>,
        len: usize,
        attempt: &mut Attempt<'_>,
    ) -> Option<Delivery> {
        let timestamp = record.timestamp.unwrap_or_else(|| open.clock.now());
        let most = len + RECORD_OVERHEAD;
        let has_room = open.builder.batch_len() + len > limit || most <= open.builder.room();
        if !has_room && !self.reserve_more(open, most, attempt) {
            return None;
        }
        match open.builder.append_within(limit, timestamp, record.key, record.value, record.headers) {
            Ok(()) => Some(open.last()),
            Err(AppendError::BatchFull) => attempt.meet(Obstacle::Full),
            Err(error) => attempt.refuse(error.into()),
        }
    }

    /// Accounts for another chunk. What was reserved for records that then fitted into the chunk before is still there.
    #[cold]
    fn reserve_more(&self, open: &mut Open, most: usize, attempt: &mut Attempt<'_>) -> bool {
        let spare = open.reserved.saturating_sub(open.builder.memory());
        let bytes = chunk_size(most, open.builder.body_len());
        spare >= bytes || self.reserve(bytes, &mut open.reserved, attempt)
    }

    /// Begins a batch with the record.
    #[cold]
    fn begin(
        &self,
        partition: &Partition,
        state: &mut PartitionState,
        record: &Bytes<'_>,
        len: usize,
        attempt: &mut Attempt<'_>,
    ) -> Option<Delivery> {
        let mut reserved = 0;
        // With room to spare: the last record must not need a chunk for itself.
        let most = len + RECORD_OVERHEAD;
        let expected = state.last_len + most;
        if !self.reserve(chunk_size(most, expected), &mut reserved, attempt) {
            return None;
        }
        let cell = Settler(Cell::new(partition.topic.clone(), partition.index));
        let created = Instant::now();
        let builder = if self.compresses { BatchBuilder::to_compress } else { BatchBuilder::new };
        let (builder, clock) = (builder(&self.pool).expecting(expected), self.clock.begin(created));
        let timestamp = record.timestamp.unwrap_or(clock.start);
        let mut open = Open { builder, cell, created, clock, reserved };
        if let Err(error) = open.builder.append(timestamp, record.key, record.value, record.headers) {
            // An empty batch left behind would be listed by nobody, and the records that join it never sent.
            self.release(reserved);
            return attempt.refuse(error.into());
        }
        let delivery = open.last();
        state.open = Some(open);
        partition.count_queued();
        Some(delivery)
    }

    /// Accounts for the memory of a new chunk. `false`: that much has to be had first.
    fn reserve(&self, bytes: usize, reserved: &mut usize, attempt: &mut Attempt<'_>) -> bool {
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = match attempt.permit.take_if(|permit| permit.num_permits() >= bytes) {
            Some(permit) => permit,
            None => match self.memory.try_acquire_many(count) {
                Ok(permit) => permit,
                Err(_) => {
                    attempt.obstacle = Obstacle::NoMemory(bytes);
                    return false;
                }
            },
        };
        *reserved += permit.num_permits();
        permit.forget();
        true
    }

    /// Whether a batch was sealed and no caller has given way to the sender since.
    #[inline]
    pub(super) fn owes_turn(&self) -> bool {
        self.owes_turn.load(Ordering::Relaxed)
    }

    /// Waits for memory, first come first served.
    pub(super) async fn memory(&self, bytes: usize) -> Result<SemaphorePermit<'_>> {
        let _blocked = Blocked::new(self);
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.memory.acquire_many(count).await.map_err(|_| self.refusal())
    }

    /// Whether somebody has found no memory and wants it still.
    pub(super) fn has_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire) > 0 || self.hurried.load(Ordering::Acquire)
    }

    /// Callers that wait for memory.
    pub(super) fn waiting(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// A caller found no memory and does not wait for it.
    pub(super) fn hurry(&self) {
        if !self.hurried.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// The memory of a settled batch is free again.
    pub(super) fn release(&self, bytes: usize) {
        self.memory.add_permits(bytes);
        self.hurried.store(false, Ordering::Release);
        if self.memory.available_permits() >= self.comfort {
            self.relief.notify_waiters();
        }
    }

    /// A caller has filled a batch. The sender gets its turn (on a runtime of one thread the buffer would otherwise fill
    /// before the first request goes out); and while more waits than brokers take at a time, the caller is held back for
    /// a moment: memory that is used again at once is still in the cache, and that is worth a third of a large record.
    pub(super) async fn pace(&self) {
        self.owes_turn.store(false, Ordering::Relaxed);
        let relief = self.relief.notified();
        if self.memory.available_permits() >= self.comfort {
            return tokio::task::yield_now().await;
        }
        let _ = timeout(LONGEST_PACE, relief).await;
    }

    /// Memory that is not in use, in bytes.
    pub(super) fn available(&self) -> usize {
        self.memory.available_permits()
    }

    /// Tells the sender to look at a partition.
    pub(super) fn list(&self, partition: &Partition) {
        let first = !std::mem::replace(&mut partition.state().listed, true);
        if first {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(partition.number);
            self.wake.notify_one();
        }
    }

    /// The partitions to look at.
    pub(super) fn take_ready(&self) -> Vec<usize> {
        std::mem::take(&mut self.ready.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on nothing is accepted.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.memory.close();
        self.closing.notify_waiters();
        self.wake.notify_one();
    }

    /// The producer cannot go on: from now on everything is refused for this reason, and not because it was closed.
    pub(super) fn fail(&self, why: Error) {
        let _ = self.fatal.set(why);
        self.close();
    }

    /// Why the producer cannot go on.
    pub(super) fn fatal(&self) -> Option<&Error> {
        self.fatal.get()
    }

    /// Waits until nothing is accepted any more.
    pub(super) async fn closed(&self) {
        let mut closing = pin!(self.closing.notified());
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// What callers are told from then on.
    #[cold]
    pub(super) fn refusal(&self) -> Error {
        self.fatal().cloned().unwrap_or_else(|| Error::new(ErrorKind::Closed, "the producer is closed"))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    #[cold]
    fn check_size(&self, topic: &Topic, record: &Bytes<'_>) -> Result<()> {
        let exact = BATCH_OVERHEAD + crate::record::record_size(0, 0, record.key, record.value, record.headers);
        if exact <= self.max_request_size {
            return Ok(());
        }
        let (name, limit) = (&topic.name, self.max_request_size);
        let message =
            format!("a record for {name} takes {exact} bytes, more than the limit of {limit} (max.request.size)");
        Err(Error::new(ErrorKind::RecordTooLarge, message))
    }
}

/// A caller that waits for memory, counted for as long as it does.
struct Blocked<'a>(&'a Accumulator);

impl<'a> Blocked<'a> {
    fn new(accumulator: &'a Accumulator) -> Self {
        if accumulator.blocked.fetch_add(1, Ordering::AcqRel) == 0 {
            accumulator.wake.notify_one();
        }
        Self(accumulator)
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.blocked.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Attempt<'_> {
    fn meet(&mut self, obstacle: Obstacle) -> Option<Delivery> {
        self.obstacle = obstacle;
        None
    }

    #[cold]
    fn refuse(&mut self, error: Error) -> Option<Delivery> {
        self.meet(Obstacle::Refused(error))
    }
}

impl Bytes<'_> {
    /// The bytes that are copied; what is around them takes at most `RECORD_OVERHEAD`.
    fn len(&self) -> usize {
        let fields = self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len);
        let header = |header: &Header<'_>| header.key.len() + header.value.map_or(0, <[u8]>::len) + 10;
        fields + self.headers.iter().map(header).sum::<usize>()
    }
}

/// So much may wait before callers are slowed down, and four batches at least: one is filled, the others are under way.
/// A record of 1 KiB costs a fifth less than with 8 MiB, and one batch fewer lets the broker wait (measured).
const COMFORTABLE: usize = 4 << 20;
/// And for so long at most per batch, so that a stalled broker's buffer still fills.
const LONGEST_PACE: Duration = Duration::from_millis(5);
/// Lengths, deltas and attributes of one record, at most.
const RECORD_OVERHEAD: usize = 48;
/// A batch's header.
const BATCH_OVERHEAD: usize = 61;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::record::CHUNK;

    const MEMORY: usize = 8 << 20;

    fn setting() -> (Accumulator, Topic) {
        let topic = Topic::sample(1, &[], crate::producer::partitioner::Spread::default(), None);
        (Accumulator::new(1 << 20, 1 << 20, MEMORY, Clock::System), topic)
    }

    fn record(value: &[u8]) -> Bytes<'_> {
        Bytes { timestamp: Some(1), key: None, value: Some(value), headers: &[] }
    }

    #[test]
    fn memory_that_is_counted_is_memory_that_is_held() {
        let (accumulator, topic) = setting();
        let mut bytes = 0;
        while bytes < 900_000 {
            assert!(accumulator.append(&topic, Some(0), &record(b"x"), &mut Attempt::default()).is_some());
            bytes += 9;
        }
        let counted = MEMORY - accumulator.available();
        let held = topic.partitions[0].state().open.as_ref().map_or(0, |open| open.builder.memory());
        assert!((held..=held + CHUNK).contains(&counted), "{counted} bytes are counted, {held} are held");
    }

    #[test]
    fn a_record_for_each_of_many_partitions_leaves_memory_for_more() {
        let topic = Topic::sample(1000, &[], crate::producer::partitioner::Spread::default(), None);
        let accumulator = Accumulator::new(1 << 20, 1 << 20, MEMORY, Clock::System);
        let append = |index: i32, len: usize| {
            let value = vec![7; len];
            accumulator.append(&topic, Some(index), &record(&value), &mut Attempt::default()).is_some()
        };
        assert!((0..1000).all(|index| append(index, 100)));
        assert_eq!(MEMORY - accumulator.available(), 1000 * 2048);
        // A partition that had more begins its next batch with as much.
        assert!((0..50).all(|_| append(5, 100)));
        let sealed = topic.partitions[5].seal();
        sealed.iter().for_each(|sealed| accumulator.release(sealed.reserved));
        assert!(append(5, 100));
        assert_eq!(MEMORY - accumulator.available(), 999 * 2048 + 8192);
    }

    #[test]
    fn a_full_buffer_says_how_much_is_missing_and_a_settled_batch_gives_it_back() {
        let (accumulator, topic) = setting();
        let mut missing = None;
        while missing.is_none() {
            let mut attempt = Attempt::default();
            if accumulator.append(&topic, Some(0), &record(&[7; 10_000]), &mut attempt).is_none() {
                let Obstacle::NoMemory(bytes) = attempt.obstacle else { panic!("{attempt:?}") };
                missing = Some(bytes);
            }
        }
        assert_eq!(missing, Some(CHUNK));
        let sealed = topic.partitions[0].seal();
        sealed.iter().for_each(|sealed| accumulator.release(sealed.reserved));
        assert_eq!(accumulator.available(), MEMORY);
    }
}
