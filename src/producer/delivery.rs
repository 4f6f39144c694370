//! How a caller learns what became of its record: one cell per batch, shared by the handles of its records.
//!
//! Rules this file keeps:
//! - no allocation per record: a handle is the batch's cell and the record's place in it;
//! - a whole batch is settled under one lock, and each waiter is woken once;
//! - dropping a handle forgets the answer, never the record.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{
    error::{Error, Result},
    types::Offset,
    wire::Str,
};

/// A record that was enqueued. Await it for the broker's answer, or drop it.
///
/// # Errors
/// `Timeout` if it was not acknowledged within `delivery.timeout.ms` or within so many `retries`, with the last trouble
/// as its source; `Broker` if it was refused for good; `Fenced`; `Closed` if the runtime ended first.
/// [`Error::maybe_written`] says whether it may stand in the log all the same. All records of a batch fail alike.
///
/// # Cancel safety
/// Dropping it, before or while it is awaited, takes nothing back: the record is delivered all the same, and
/// [`flush`](crate::Producer::flush) still reports its failure.
#[derive(Debug)]
#[must_use = "await it to see whether the record arrives, or `detach` it and `flush` at the end"]
pub struct Delivery {
    cell: Arc<Cell>,
    index: i32,
    /// Where this handle's waker stands in the cell; a handle is two words, because every record makes one.
    waker: u32,
}

/// No waker stands in the cell yet.
const NO_WAKER: u32 = u32::MAX;

/// Where a record stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordAck {
    /// The topic.
    pub topic: Str,
    /// The partition it went to.
    pub partition: i32,
    /// Its offset; `None` with acks=0, or when the broker had the record already and no longer knew where.
    pub offset: Option<Offset>,
    /// When the broker wrote it, in milliseconds since 1970, if the topic keeps log-append time.
    pub log_append_time: Option<i64>,
}

impl Delivery {
    /// Gives up the answer, not the record: it is delivered all the same, and `flush` reports its failure.
    pub fn detach(self) {}

    /// Goes on to the part that has the record, as often as batches were split.
    fn follow(&mut self) {
        while let Some((begin, part)) = self.cell.part_of(self.index) {
            (self.cell, self.index, self.waker) = (part, self.index - begin, NO_WAKER);
        }
    }
}

impl Future for Delivery {
    type Output = Result<RecordAck>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.follow();
        let mut state = this.cell.state();
        match &mut *state {
            // Split between the two looks.
            State::Split(_) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            State::Settled(outcome) => Poll::Ready(outcome.clone().map(|ack| this.cell.ack(ack, this.index))),
            State::Open(wakers) => {
                match wakers.get_mut(this.waker as usize) {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => {
                        this.waker = u32::try_from(wakers.len()).unwrap_or(NO_WAKER);
                        wakers.push(cx.waker().clone());
                    }
                }
                Poll::Pending
            }
        }
    }
}

/// What the records of one batch have in common.
#[derive(Debug)]
pub(super) struct Cell {
    topic: Str,
    partition: i32,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Open(Vec<Waker>),
    Settled(Result<BatchAck>),
    /// The batch was too large; its records are in these, which begin at these numbers.
    Split(Vec<(i32, Arc<Cell>)>),
}

/// A batch that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchAck {
    pub(super) base_offset: Offset,
    pub(super) log_append_time: i64,
}

impl Cell {
    pub(super) fn new(topic: Str, partition: i32) -> Arc<Self> {
        Arc::new(Self { topic, partition, state: Mutex::new(State::Open(Vec::new())) })
    }

    pub(super) fn delivery(self: &Arc<Self>, index: i32) -> Delivery {
        Delivery { cell: self.clone(), index, waker: NO_WAKER }
    }

    /// The batch's fate is known: every waiter wakes.
    pub(super) fn settle(&self, outcome: Result<BatchAck>) {
        let before = std::mem::replace(&mut *self.state(), State::Settled(outcome));
        if let State::Open(wakers) = before {
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// The batch becomes several of so many records each. Whoever waits for a record waits for its part from now on.
    pub(super) fn split<const N: usize>(&self, records: [i32; N]) -> [Arc<Self>; N] {
        let mut begin = 0;
        let mut parts = Vec::with_capacity(N);
        let cells = records.map(|records| {
            let part = Self::new(self.topic.clone(), self.partition);
            parts.push((begin, part.clone()));
            begin += records;
            part
        });
        let before = std::mem::replace(&mut *self.state(), State::Split(parts));
        if let State::Open(wakers) = before {
            wakers.into_iter().for_each(Waker::wake);
        }
        cells
    }

    /// The part that has the record of this number, and the number with which the part begins, if there are parts.
    fn part_of(&self, index: i32) -> Option<(i32, Arc<Self>)> {
        match &*self.state() {
            State::Split(parts) => parts.iter().rev().find(|(begin, _)| *begin <= index).cloned(),
            _ => None,
        }
    }

    /// Waits for the batch as a whole: for all its parts, if it is split. One of the failures is told.
    pub(super) async fn settled(self: Arc<Self>) -> Result<()> {
        let mut outcome = Ok(());
        let mut open = vec![self];
        while let Some(cell) = open.pop() {
            // Where the batch was split, this is the fate of the first part, and the others are still to be waited for.
            let first = cell.delivery(0).await.map(drop);
            outcome = outcome.and(first);
            if let State::Split(parts) = &*cell.state() {
                open.extend(parts.iter().skip(1).map(|(_, part)| part.clone()));
                open.extend(parts.first().filter(|(_, part)| part.is_split()).map(|(_, part)| part.clone()));
            }
        }
        outcome
    }

    fn is_split(&self) -> bool {
        matches!(&*self.state(), State::Split(_))
    }

    fn ack(&self, batch: BatchAck, index: i32) -> RecordAck {
        RecordAck {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: (batch.base_offset >= 0).then(|| batch.base_offset.saturating_add(i64::from(index))),
            log_append_time: (batch.log_append_time >= 0).then_some(batch.log_append_time),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles a cell as abandoned if nothing else did.
#[derive(Debug)]
pub(super) struct Settler(pub(super) Arc<Cell>);

impl Drop for Settler {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let State::Open(wakers) = &mut *state {
            let wakers = std::mem::take(wakers);
            let why = "the producer's task ended before the record's fate was known";
            *state = State::Settled(Err(Error::new(crate::ErrorKind::Closed, why).with_maybe_written(true)));
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_record_has_its_own_offset() {
        let cell = Cell::new("t".into(), 3);
        let (first, third) = (cell.delivery(0), cell.delivery(2));
        cell.settle(Ok(BatchAck { base_offset: 40, log_append_time: -1 }));
        let (first, third) = (first.await.unwrap(), third.await.unwrap());
        assert_eq!((first.offset, third.offset, third.partition), (Some(40), Some(42), 3));
    }

    #[tokio::test]
    async fn waiters_wake_when_the_batch_is_settled() {
        let cell = Cell::new("t".into(), 0);
        let waiting = tokio::spawn(cell.delivery(1));
        tokio::task::yield_now().await;
        cell.settle(Ok(BatchAck { base_offset: -1, log_append_time: 5 }));
        let ack = waiting.await.unwrap().unwrap();
        assert_eq!((ack.offset, ack.log_append_time), (None, Some(5)));
    }

    #[tokio::test]
    async fn kip_126_a_record_is_told_the_fate_of_its_half() {
        let whole = Cell::new("t".into(), 0);
        let waiting: Vec<_> = (0..5).map(|index| tokio::spawn(whole.delivery(index))).collect();
        let all = tokio::spawn(whole.clone().settled());
        tokio::task::yield_now().await;
        let [first, second] = whole.split([2, 3]);
        // The second half is still too large.
        let [third, fourth] = second.split([1, 2]);
        tokio::task::yield_now().await;
        fourth.settle(Ok(BatchAck { base_offset: 90, log_append_time: -1 }));
        first.settle(Ok(BatchAck { base_offset: 10, log_append_time: -1 }));
        tokio::task::yield_now().await;
        assert!(!all.is_finished(), "a record is still on its way");
        third.settle(Err(Error::new(crate::ErrorKind::Closed, "third")));
        let mut offsets = Vec::new();
        for delivery in waiting {
            offsets.push(delivery.await.unwrap().map(|ack| ack.offset).map_err(|error| error.to_string()));
        }
        assert_eq!(offsets, [Ok(Some(10)), Ok(Some(11)), Err("third".into()), Ok(Some(90)), Ok(Some(91))]);
        assert_eq!(all.await.unwrap().map_err(|error| error.to_string()), Err("third".into()));
    }

    #[tokio::test]
    async fn p12_an_abandoned_batch_is_reported() {
        let cell = Cell::new("t".into(), 0);
        let delivery = cell.delivery(0);
        drop(Settler(cell));
        let error = delivery.await.unwrap_err();
        assert!(error.maybe_written() && error.is_fatal());
    }
}
