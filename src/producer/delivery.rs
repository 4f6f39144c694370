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
    place: Place,
}

/// The record's number in its batch, and where this handle's waker stands in the cell. Two numbers in one word: every
/// record makes a handle, and a pair of words is returned in registers.
#[derive(Debug, Clone, Copy)]
struct Place(u64);

impl Place {
    #[inline]
    fn new(index: i32, waker: u32) -> Self {
        Self(u64::from(index as u32) | u64::from(waker) << 32)
    }

    #[inline]
    fn index(self) -> i32 {
        self.0 as u32 as i32
    }

    #[inline]
    fn waker(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// No waker stands in the cell yet.
const NO_WAKER: u32 = u32::MAX;

/// Records that were enqueued together, in their order. Wait for all of them with [`settled`](Self::settled), for each
/// by itself as an iterator of [`Delivery`]s, or drop it.
///
/// It takes a few words per batch, however many records there are.
#[derive(Debug, Default)]
#[must_use = "await `settled` to see whether the records arrive, or `detach` it and `flush` at the end"]
pub struct BatchDelivery {
    runs: Vec<Run>,
    records: usize,
}

/// The deliveries of a [`BatchDelivery`], in the order of the records.
#[derive(Debug)]
pub struct Deliveries {
    runs: std::vec::IntoIter<Run>,
    run: Option<Run>,
    left: usize,
}

/// Records that stand one behind the other in a batch.
#[derive(Debug)]
struct Run {
    cell: Arc<Cell>,
    first: i32,
    count: i32,
}

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
    /// The partition that the record went to.
    pub fn partition(&self) -> i32 {
        self.cell.partition
    }

    /// Gives up the answer, not the record: it is delivered all the same, and the next `flush` reports its failure.
    pub fn detach(self) {}

    /// Goes on to the part that has the record, as often as batches were split.
    fn follow(&mut self) {
        while let Some((begin, part)) = self.cell.part_of(self.place.index()) {
            (self.cell, self.place) = (part, Place::new(self.place.index() - begin, NO_WAKER));
        }
    }

    /// Whoever gives up waiting has not heard of the outcome: `flush` tells it then.
    #[cold]
    fn give_up(&self) {
        match &mut *self.cell.state() {
            State::Open(wakers) => {
                if let Some(waker) = wakers.get_mut(self.place.waker() as usize) {
                    *waker = None;
                }
            }
            State::Settled { told, .. } => *told = false,
            State::Split(_) => {}
        }
    }
}

impl Drop for Delivery {
    #[inline]
    fn drop(&mut self) {
        if self.place.waker() != NO_WAKER {
            self.give_up();
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
            State::Settled { outcome, told } => {
                *told = true;
                this.place = Place::new(this.place.index(), NO_WAKER);
                Poll::Ready(outcome.clone().map(|ack| this.cell.ack(ack, this.place.index())))
            }
            State::Open(wakers) => {
                match wakers.get_mut(this.place.waker() as usize) {
                    Some(waker) => match waker {
                        Some(waker) => waker.clone_from(cx.waker()),
                        None => *waker = Some(cx.waker().clone()),
                    },
                    None => {
                        let waker = u32::try_from(wakers.len()).unwrap_or(NO_WAKER);
                        this.place = Place::new(this.place.index(), waker);
                        wakers.push(Some(cx.waker().clone()));
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl BatchDelivery {
    /// How many records were enqueued.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether nothing was enqueued.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// The first failure, as [`Delivery`] says it; the others were waited for all the same.
    ///
    /// # Cancel safety
    /// As [`Delivery`].
    pub async fn settled(self) -> Result<()> {
        let mut outcome = Ok(());
        for run in self.runs {
            // The records of a batch fare alike, unless it was split.
            outcome = outcome.and(run.delivery(0).await.map(drop));
            for index in 1..run.count {
                if !run.cell.is_split() {
                    break;
                }
                outcome = outcome.and(run.delivery(index).await.map(drop));
            }
        }
        outcome
    }

    /// Gives up the answers, not the records.
    pub fn detach(self) {}

    pub(super) fn push(&mut self, delivery: Delivery) {
        self.records += 1;
        match self.runs.last_mut() {
            Some(run) if Arc::ptr_eq(&run.cell, &delivery.cell) && run.first + run.count == delivery.place.index() => {
                run.count += 1;
            }
            _ => self.runs.push(Run { cell: delivery.cell.clone(), first: delivery.place.index(), count: 1 }),
        }
    }
}

impl IntoIterator for BatchDelivery {
    type Item = Delivery;
    type IntoIter = Deliveries;

    fn into_iter(self) -> Deliveries {
        Deliveries { runs: self.runs.into_iter(), run: None, left: self.records }
    }
}

impl Iterator for Deliveries {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        let run = match &mut self.run {
            Some(run) if run.count > 0 => run,
            run => run.insert(self.runs.next()?),
        };
        let delivery = run.delivery(0);
        (run.first, run.count) = (run.first + 1, run.count - 1);
        self.left -= 1;
        Some(delivery)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Deliveries {}

impl Run {
    fn delivery(&self, index: i32) -> Delivery {
        self.cell.delivery(self.first + index)
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
    /// Who waits; `None` is who has given up.
    Open(Vec<Option<Waker>>),
    /// `told`: somebody has heard of it, or waited for it.
    Settled { outcome: Result<BatchAck>, told: bool },
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

    #[inline]
    pub(super) fn delivery(self: &Arc<Self>, index: i32) -> Delivery {
        Delivery { cell: self.clone(), place: Place::new(index, NO_WAKER) }
    }

    /// The batch's fate is known: every waiter wakes.
    pub(super) fn settle(&self, outcome: Result<BatchAck>) {
        let mut state = self.state();
        let told = matches!(&*state, State::Open(wakers) if wakers.iter().any(Option::is_some));
        let before = std::mem::replace(&mut *state, State::Settled { outcome, told });
        drop(state);
        if let State::Open(wakers) = before {
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Whether somebody knows what became of the batch.
    pub(super) fn is_told(&self) -> bool {
        matches!(&*self.state(), State::Settled { told: true, .. })
    }

    /// The failure, if nobody has heard of it yet.
    pub(super) fn tell(&self) -> Option<Error> {
        match &mut *self.state() {
            State::Settled { outcome: Err(error), told: told @ false } => {
                *told = true;
                Some(error.clone())
            }
            _ => None,
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
            wakers.into_iter().flatten().for_each(Waker::wake);
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
            let outcome = Err(Error::new(crate::ErrorKind::Closed, why).with_maybe_written(true));
            *state = State::Settled { outcome, told: true };
            drop(state);
            wakers.into_iter().flatten().for_each(Waker::wake);
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
    async fn p12_whoever_gave_up_waiting_has_not_been_told() {
        let failed = || Err(Error::new(crate::ErrorKind::Closed, "failed"));
        for (stays, told) in [(true, true), (false, false)] {
            let cell = Cell::new("t".into(), 0);
            let mut delivery = Some(cell.delivery(0));
            std::future::poll_fn(|cx| {
                assert!(delivery.as_mut().is_some_and(|delivery| Pin::new(delivery).poll(cx).is_pending()));
                Poll::Ready(())
            })
            .await;
            delivery = delivery.filter(|_| stays);
            cell.settle(failed());
            assert_eq!(cell.is_told(), told);
            // Woken, and gone before it looked.
            drop(delivery);
            assert!(cell.tell().is_some(), "flush is the one to tell");
        }
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
