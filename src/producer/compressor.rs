//! The workers that compress sealed batches, and split those that are too large, off the caller's task and off the connection's.
//!
//! Rules this file keeps:
//! - as many batches at once as there are processors, no more: a codec keeps its contexts per thread, and a thread more
//!   than that only costs memory;
//! - first sealed, first compressed; `machine::queue` keeps the order within a partition whatever finishes first;
//! - on an in-process network there are no workers, and the sender's task does the work itself: which worker finishes
//!   first is the one thing that no seed decides.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    thread::available_parallelism,
};

use tokio::sync::mpsc;

use crate::{
    error::{Error, ErrorKind, Result},
    machine::queue::BatchId,
    record::{Compression, SealedBatch},
};

use super::sender::Event;

/// The batches that wait for a worker.
#[derive(Debug)]
pub(super) struct Compressor {
    waiting: VecDeque<(usize, BatchId, Codec, Work)>,
    busy: usize,
    is_in_process: bool,
    /// How many there may be, once that was asked: the system has to read files for it, and not every producer compresses.
    workers: Option<usize>,
    outbox: mpsc::UnboundedSender<Event>,
}

/// How a topic's batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Codec {
    pub(super) compression: Compression,
    /// The codec's own, if it is `None`.
    pub(super) level: Option<i32>,
}

impl Codec {
    /// Whether batches go out as they are.
    pub(super) fn is_none(self) -> bool {
        self.compression == Compression::None
    }
}

#[derive(Debug)]
enum Work {
    Compress(SealedBatch),
    Split(SealedBatch),
}

/// A half of a batch that was too large.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) sealed: SealedBatch,
    /// Before compression.
    pub(super) raw_len: usize,
}

impl Compressor {
    pub(super) fn new(is_in_process: bool, outbox: mpsc::UnboundedSender<Event>) -> Self {
        Self { waiting: VecDeque::new(), busy: 0, is_in_process, workers: None, outbox }
    }

    /// Takes a batch. It comes back as `Event::Compressed`.
    pub(super) fn push(&mut self, number: usize, id: BatchId, codec: Codec, batch: SealedBatch) {
        self.waiting.push_back((number, id, codec, Work::Compress(batch)));
        self.start();
    }

    /// Takes a batch that is too large. Its halves come back as `Event::Split`.
    pub(super) fn split(&mut self, number: usize, id: BatchId, codec: Codec, batch: SealedBatch) {
        self.waiting.push_back((number, id, codec, Work::Split(batch)));
        self.start();
    }

    /// A batch came back.
    pub(super) fn handle_done(&mut self) {
        self.busy -= 1;
        self.start();
    }

    fn start(&mut self) {
        let most = || if self.is_in_process { 1 } else { available_parallelism().map_or(1, usize::from) };
        let workers = *self.workers.get_or_insert_with(most);
        while self.busy < workers
            && let Some((number, id, codec, work)) = self.waiting.pop_front()
        {
            self.busy += 1;
            let outbox = self.outbox.clone();
            let work = move || {
                let event = match work {
                    Work::Compress(batch) => Event::Compressed { number, id, batch: compress(batch, codec) },
                    Work::Split(batch) => Event::Split { number, id, parts: split(&batch, codec) },
                };
                let _ = outbox.send(event);
            };
            if self.is_in_process {
                work();
            } else {
                tokio::task::spawn_blocking(work);
            }
        }
    }
}

/// A codec that panics must not take a worker with it: the batch goes out as it is.
fn compress(batch: SealedBatch, codec: Codec) -> SealedBatch {
    let plain = batch.clone();
    catch_unwind(AssertUnwindSafe(|| batch.compress(codec.compression, codec.level))).unwrap_or(plain)
}

fn split(batch: &SealedBatch, codec: Codec) -> Result<[Part; 2]> {
    let panicked = |_| Err(Error::new(ErrorKind::CorruptBatch, "a codec has panicked over a batch of ours"));
    let halves = catch_unwind(AssertUnwindSafe(|| batch.split())).unwrap_or_else(panicked)?;
    let part = |half: SealedBatch| Part { raw_len: half.wire_len(), sealed: compress(half, codec) };
    Ok(halves.map(part))
}
