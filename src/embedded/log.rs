//! A partition's log: batches in segments, the offsets they got, and who waits for more.
//!
//! Rules this file keeps:
//! - offsets are given out here and nowhere else, without gaps;
//! - what was appended never changes, except by what `retention.rs` does to it;
//! - a reader that finds too little registers while it holds the lock, so that no append can slip in between.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use super::{
    batch::{BatchHeader, StoredBatch},
    configs::TopicConfigs,
    epochs::Epochs,
    isolation::{Aborted, Isolation},
    marker::Marker,
    producers::{Change, ProducerState, Producers, Rules, Verdict},
};

/// The log of one partition.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) segments: VecDeque<Segment>,
    pub(super) start_offset: i64,
    pub(super) end_offset: i64,
    /// The cluster's bound for a segment; the topic may have a lower one.
    pub(super) segment_bytes: usize,
    pub(super) configs: Arc<TopicConfigs>,
    pub(super) epochs: Epochs,
    pub(super) producers: Producers,
    pub(super) isolation: Isolation,
    /// Whether the topic was deleted: nothing is appended any more.
    pub(super) deleted: bool,
    pub(super) waiting: Vec<Weak<Notify>>,
}

/// A stretch of a log, whose last one alone grows.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base_offset: i64,
    /// Bytes of memory.
    pub(super) cost: usize,
    /// Bytes of batches.
    pub(super) size: usize,
    /// The greatest timestamp of the first batch.
    first_timestamp: i64,
    pub(super) max_timestamp: i64,
    /// Whether compaction has been here.
    pub(super) cleaned: bool,
    pub(super) batches: Vec<StoredBatch>,
}

impl Segment {
    fn new(batch: StoredBatch) -> Self {
        let (base_offset, first_timestamp) = (batch.base_offset, batch.header.max_timestamp);
        let (cost, size, max_timestamp, cleaned) = (0, 0, first_timestamp, false);
        let mut segment =
            Self { base_offset, cost, size, first_timestamp, max_timestamp, cleaned, batches: Vec::new() };
        segment.push(batch);
        segment
    }

    pub(super) fn push(&mut self, batch: StoredBatch) {
        self.cost += cost_of(&batch);
        self.size += batch.size();
        self.max_timestamp = self.max_timestamp.max(batch.header.max_timestamp);
        self.batches.push(batch);
    }

    /// Puts these batches in the place of what it has.
    pub(super) fn replace(&mut self, batches: Vec<StoredBatch>) {
        (self.cost, self.size) = (0, 0);
        self.batches = Vec::with_capacity(batches.len());
        batches.into_iter().for_each(|batch| self.push(batch));
    }
}

/// Bytes of memory that a batch takes.
fn cost_of(batch: &StoredBatch) -> usize {
    batch.size() + BATCH_OVERHEAD
}

/// A batch to append, and the circumstances it came in.
pub(super) struct Append {
    pub(super) header: BatchHeader,
    pub(super) bytes: Bytes,
    pub(super) leader_epoch: i32,
    /// Length of the request that held the batch.
    pub(super) frame: usize,
    pub(super) rules: Rules,
}

/// Where a batch stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Appended {
    pub(super) base_offset: i64,
    /// The timestamp of the first append, where this one repeats it; else −1.
    pub(super) timestamp: i64,
    /// Bytes of memory that the batch took; 0 if nothing was appended.
    pub(super) cost: usize,
    /// The base offset of the segment that this batch opened.
    pub(super) opened: Option<i64>,
}

/// What a reader got.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) pieces: Vec<Bytes>,
    pub(super) bytes: usize,
    /// One past the last record in it; 0 without any.
    pub(super) end_offset: i64,
}

impl Log {
    pub(super) fn new(segment_bytes: usize, configs: Arc<TopicConfigs>) -> Self {
        let mut epochs = Epochs::default();
        epochs.begin(0, 0);
        Self {
            segments: VecDeque::new(),
            start_offset: 0,
            end_offset: 0,
            segment_bytes,
            configs,
            epochs,
            producers: Producers::default(),
            isolation: Isolation::default(),
            deleted: false,
            waiting: Vec::new(),
        }
    }

    pub(super) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// One past the last record. With one replica this is the high watermark too.
    pub(super) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// The first offset that a reader of committed records may not see: that of the oldest open transaction.
    pub(super) fn last_stable_offset(&self) -> i64 {
        self.isolation.last_stable_offset(self.end_offset).max(self.start_offset)
    }

    /// The aborted transactions with records in this range.
    pub(super) fn aborted_in(&self, from: i64, to: i64) -> Vec<Aborted> {
        self.isolation.aborted_in(from, to)
    }

    /// Where this log and a reader part that has read up to `offset`, the last record in leader epoch `epoch`; `None`
    /// if they do not, or the reader says no epoch.
    pub(super) fn diverging(&self, epoch: i32, offset: i64) -> Result<Option<(i32, i64)>, ResponseError> {
        if epoch < 0 {
            return Ok(None);
        }
        let (known, end) = self.epochs.end_of(epoch, self.end_offset).ok_or(ResponseError::OffsetOutOfRange)?;
        Ok((known < epoch || end < offset).then_some((known, end)))
    }

    /// Whether the producer has an open transaction here in this epoch.
    pub(super) fn has_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        self.producers.is_open(producer_id, epoch)
    }

    /// The producers that are known here.
    pub(super) fn producers(&self, rules: &Rules) -> Vec<ProducerState> {
        self.producers.states(rules)
    }

    /// Appends a batch, or answers a repeated one with what it got the first time.
    pub(super) fn append(&mut self, append: Append) -> Result<Appended, ResponseError> {
        self.check_present()?;
        match self.producers.judge(&append.header, &append.rules) {
            Verdict::Refuse(error) => return Err(error),
            Verdict::Duplicate { base_offset, timestamp } => {
                return Ok(Appended { base_offset, timestamp, cost: 0, opened: None });
            }
            Verdict::Append => {}
        }
        let base_offset = self.end_offset;
        let Append { header, bytes, leader_epoch, frame, rules } = append;
        if let Change::Opened(first_offset) = self.producers.remember(&header, base_offset, &rules) {
            self.isolation.open(first_offset);
        }
        self.forget_a_producer();
        self.end_offset += i64::from(header.record_count);
        let cost = header.size + BATCH_OVERHEAD;
        let opened = self.place(StoredBatch::new(header, bytes, base_offset, leader_epoch, frame), cost);
        self.wake();
        Ok(Appended { base_offset, timestamp: -1, cost, opened })
    }

    /// Writes the end of a transaction, and wakes who waits for the last stable offset.
    pub(super) fn append_marker(&mut self, marker: &Marker, leader_epoch: i32) -> Result<Appended, ResponseError> {
        self.check_present()?;
        self.producers.judge_marker(marker)?;
        let (header, bytes) = marker.encode();
        let base_offset = self.end_offset;
        self.end_offset += 1;
        match self.producers.remember_marker(marker, base_offset) {
            Change::Ended(first_offset) if marker.commit => self.isolation.end(first_offset),
            Change::Ended(first_offset) => self.isolation.abort(marker.producer_id, first_offset, base_offset),
            Change::Nothing | Change::Opened(_) => {}
        }
        self.forget_a_producer();
        let cost = header.size + BATCH_OVERHEAD;
        let opened = self.place(StoredBatch::new(header, bytes, base_offset, leader_epoch, header.size), cost);
        self.wake();
        Ok(Appended { base_offset, timestamp: -1, cost, opened })
    }

    fn check_present(&self) -> Result<(), ResponseError> {
        if self.deleted { Err(ResponseError::UnknownTopicOrPartition) } else { Ok(()) }
    }

    /// Keeps the memory of producers within its bound.
    fn forget_a_producer(&mut self) {
        if let Some(first_offset) = self.producers.forget_oldest() {
            // Nobody could end this transaction any more.
            self.isolation.end(first_offset);
        }
    }

    /// Puts a batch at the end; returns the base offset of the segment that it opened.
    fn place(&mut self, batch: StoredBatch, cost: usize) -> Option<i64> {
        let config = self.configs.current();
        let waited = |segment: &Segment| batch.header.max_timestamp.saturating_sub(segment.first_timestamp);
        match self.segments.back_mut() {
            Some(segment)
                if segment.cost + cost <= self.segment_bytes
                    && segment.size + batch.size() <= config.segment_bytes
                    && waited(segment) <= config.segment_millis =>
            {
                segment.push(batch);
                None
            }
            _ => {
                let base_offset = batch.base_offset;
                self.segments.push_back(Segment::new(batch));
                Some(base_offset)
            }
        }
    }

    /// Reads whole batches from `offset` on: as many as fit in `max_bytes`, and the first one in any case if
    /// `first_whole`. Nothing from the offset `until` on.
    pub(super) fn read(
        &self,
        offset: i64,
        until: i64,
        max_bytes: usize,
        first_whole: bool,
    ) -> Result<Read, ResponseError> {
        if offset < self.start_offset || offset > self.end_offset {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let mut read = Read::default();
        for batch in self.batches_from(offset).take_while(|batch| batch.base_offset < until) {
            let first = first_whole && read.bytes == 0;
            if !first && read.bytes + batch.size() > max_bytes {
                break;
            }
            read.bytes += batch.size();
            read.end_offset = batch.last_offset() + 1;
            read.pieces.extend(batch.pieces());
        }
        Ok(read)
    }

    /// The batches from the one that holds `offset` on.
    fn batches_from(&self, offset: i64) -> impl Iterator<Item = &StoredBatch> {
        let segment = self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
        self.segments.range(segment.min(self.segments.len())..).flat_map(move |segment| {
            let skipped = segment.batches.partition_point(|batch| batch.last_offset() < offset);
            segment.batches.iter().skip(skipped)
        })
    }

    /// Offset and timestamp of the first record at or after `timestamp`.
    ///
    /// In a batch that cannot be read, that is its first record.
    pub(super) fn offset_at(&self, timestamp: i64) -> Option<(i64, i64)> {
        let mut batches = self.batches_from(self.start_offset);
        let batch = batches.find(|batch| batch.header.max_timestamp >= timestamp)?;
        let whole = (batch.base_offset, batch.header.base_timestamp);
        let Some(records) = batch.timestamps() else { return Some(whole) };
        let wanted = |(offset, at): &(i64, i64)| *at >= timestamp && *offset >= self.start_offset;
        Some(records.into_iter().find(wanted).unwrap_or(whole))
    }

    /// Offset and timestamp of the record with the greatest timestamp (KIP-734).
    ///
    /// In a batch that cannot be read, that is its last record.
    pub(super) fn newest_timestamp(&self) -> Option<(i64, i64)> {
        let batches = self.segments.iter().flat_map(|segment| &segment.batches);
        let newest = batches.map(|batch| batch.header.max_timestamp).max()?;
        let mut batches = self.segments.iter().flat_map(|segment| &segment.batches);
        let batch = batches.find(|batch| batch.header.max_timestamp == newest)?;
        let records = batch.timestamps().unwrap_or_default();
        Some(records.into_iter().find(|(_, at)| *at == newest).unwrap_or((batch.last_offset(), newest)))
    }

    /// Wakes `reader` at the next append. Call it under the lock that the read was made under.
    pub(super) fn wait(&mut self, reader: &Arc<Notify>) {
        self.waiting.retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(reader)));
        self.waiting.push(Arc::downgrade(reader));
    }

    /// Wakes all who wait: there is more to read, or the partition has moved or gone.
    pub(super) fn wake(&mut self) {
        for reader in self.waiting.drain(..) {
            if let Some(reader) = reader.upgrade() {
                reader.notify_one();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.iter().any(|reader| reader.strong_count() > 0)
    }

    /// Bytes of batches.
    pub(super) fn size(&self) -> usize {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Bytes of memory that the log holds.
    pub(super) fn cost(&self) -> usize {
        self.segments.iter().map(|segment| segment.cost).sum()
    }
}

/// What a batch costs beside its bytes: its entry here, two reference counts, its producer's memory of it.
const BATCH_OVERHEAD: usize = 256;
