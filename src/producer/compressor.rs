//! The workers that compress sealed batches, off the caller's task and off the connection's.
//!
//! Rules this file keeps:
//! - as many batches at once as there are processors, no more: a codec keeps its contexts per thread, and a thread more
//!   than that only costs memory;
//! - first sealed, first compressed; `machine::queue` keeps the order within a partition whatever finishes first.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    thread::available_parallelism,
};

use tokio::sync::mpsc;

use crate::{
    machine::queue::BatchId,
    record::{Compression, SealedBatch},
};

use super::sender::Event;

/// The batches that wait for a worker.
#[derive(Debug)]
pub(super) struct Compressor {
    codec: Compression,
    level: Option<i32>,
    waiting: VecDeque<(usize, BatchId, SealedBatch)>,
    busy: usize,
    workers: usize,
    outbox: mpsc::UnboundedSender<Event>,
}

impl Compressor {
    pub(super) fn new(codec: Compression, level: Option<i32>, outbox: mpsc::UnboundedSender<Event>) -> Self {
        let workers = available_parallelism().map_or(1, usize::from);
        Self { codec, level, waiting: VecDeque::new(), busy: 0, workers, outbox }
    }

    /// Whether batches go out as they are.
    pub(super) fn is_none(&self) -> bool {
        self.codec == Compression::None
    }

    /// Takes a batch. It comes back as `Event::Compressed`.
    pub(super) fn push(&mut self, number: usize, id: BatchId, batch: SealedBatch) {
        self.waiting.push_back((number, id, batch));
        self.start();
    }

    /// A batch came back.
    pub(super) fn handle_done(&mut self) {
        self.busy -= 1;
        self.start();
    }

    fn start(&mut self) {
        while self.busy < self.workers
            && let Some((number, id, batch)) = self.waiting.pop_front()
        {
            self.busy += 1;
            let (codec, level, outbox) = (self.codec, self.level, self.outbox.clone());
            tokio::task::spawn_blocking(move || {
                // A codec that panics must not take a worker with it: the batch goes out as it is.
                let plain = batch.clone();
                let batch = catch_unwind(AssertUnwindSafe(|| batch.compress(codec, level))).unwrap_or(plain);
                let _ = outbox.send(Event::Compressed { number, id, batch });
            });
        }
    }
}
