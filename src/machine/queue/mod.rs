//! One partition's sealed batches: what may be sent, with which sequence number, and what an answer means.
//!
//! ```text
//!            poll_send                 handle_acked (oldest)
//!   Ready ───────────────▶ InFlight ─────────────────────────▶ done
//!     ▲                       │
//!     ├───────────────────────┤ lost, refused but retriable, or answered out of turn
//!     │    handle_split       ▼
//!     └────────────────── Sealing   too large: its place is taken by its halves
//! ```
//!
//! Rules this file keeps (the numbers are those of the must-not-have list):
//! - P1  a second request is in flight only after this leader acknowledged one with this id and epoch: a broker
//!   accepts any first sequence of an id it does not know, so two could leave a gap;
//! - P2  answers come in the order of the requests, and only the oldest batch is acted on;
//! - P3  nothing goes to a new leader while a request to the old one is open;
//! - P4  a batch that may have been written keeps its stamp until its fate is known;
//! - P5  only the oldest batch may run out of time, never one from the middle;
//! - P6  a new identity resets the sequence and clears every stamp before anything is sent with it, and begins only when
//!   nothing stamped with the old one is in flight or uncertain: that is finished first, with the stamps it has. A broker
//!   keeps the epoch of each partition apart, so no partition waits for another (KIP-360);
//! - P7  a batch that fails for good leaves no gap behind it: its numbers are taken back, or the epoch is over;
//! - the halves of a batch share out its sequence numbers, and may have been written if it may;
//! - P8  sequence numbers wrap to 0 after 2³¹ − 1;
//! - deliveries complete in append order, except that without idempotence an acknowledged batch is never sent again;
//! - delivery timeout bounds everything that is not on the wire.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    plant::{self, Plant},
    types::BrokerId,
    wire::ErrorCode,
};

use super::{
    conn::Certainty,
    identity::{ProducerId, Standing},
};

mod verdict;
mod words;

pub(crate) use verdict::Verdict;
pub(crate) use words::{BatchId, Done, Failure, Outcome, Refusal, Rules, Send, Stamp};

/// The batches of one partition, oldest first. `B` is the batch itself, which no decision looks into.
#[derive(Debug)]
pub(crate) struct Queue<B> {
    entries: VecDeque<Entry<B>>,
    done: VecDeque<Done<B>>,
    next_id: u64,
    rules: Rules,
    /// The identity that `next_sequence` counts for.
    identity: Option<ProducerId>,
    next_sequence: i32,
    in_flight: usize,
    /// The leader that the requests in flight went to. None once that number, or the log, is another one (N11).
    asked: Option<BrokerId>,
    /// The leader that acknowledged a batch of `identity` on the connection that stands.
    proven: Option<BrokerId>,
    /// Failures in a row, for the backoff.
    failures: u32,
    retry_at: Option<Instant>,
    /// `identity` is over here: nothing new is stamped with it.
    broken: bool,
    /// The transaction is to be aborted: whatever is not on the wire fails.
    aborting: bool,
    /// `broken` was told of.
    told: bool,
    /// The last offset that an acknowledgement named.
    last_acked: Option<i64>,
}

#[derive(Debug)]
struct Entry<B> {
    id: BatchId,
    batch: B,
    records: i32,
    deadline: Instant,
    state: State,
    stamp: Option<Stamp>,
    /// An attempt with this stamp may have been written.
    maybe_written: bool,
    attempts: u32,
    last: Option<ErrorCode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is being compressed, or split.
    Sealing,
    Ready,
    InFlight,
}

impl<B> Queue<B> {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            entries: VecDeque::new(),
            done: VecDeque::new(),
            next_id: 0,
            rules,
            identity: None,
            next_sequence: 0,
            in_flight: 0,
            asked: None,
            proven: None,
            failures: 0,
            retry_at: None,
            broken: false,
            aborting: false,
            told: false,
            last_acked: None,
        }
    }

    /// A sealed batch joins the queue. `ready` is false while a worker still compresses it.
    pub(crate) fn push(&mut self, created: Instant, records: i32, batch: B, ready: bool) -> BatchId {
        let id = BatchId(self.next_id);
        self.next_id += 1;
        self.entries.push_back(Entry {
            id,
            batch,
            records,
            deadline: created + self.rules.delivery_timeout,
            state: if ready { State::Ready } else { State::Sealing },
            stamp: None,
            maybe_written: false,
            attempts: 0,
            last: None,
        });
        id
    }

    /// The worker is done with a batch, which may be sent from now on. `None` if it failed meanwhile.
    pub(crate) fn handle_sealed(&mut self, id: BatchId) -> Option<&mut B> {
        let entry = self.entry(id).filter(|entry| entry.state == State::Sealing)?;
        entry.state = State::Ready;
        Some(&mut entry.batch)
    }

    /// Whether a batch that joined now could go out at once: then sealing an open one makes sense.
    pub(crate) fn could_send(&self, now: Instant, leader: BrokerId, standing: Standing) -> bool {
        let could_stamp = match standing {
            _ if !self.rules.idempotent => true,
            Standing::Wait => false,
            Standing::Ready(producer) if self.identity == Some(producer) => !self.broken,
            Standing::Ready(_) => self.is_drained(),
        };
        could_stamp && !self.has_waiting() && self.gate_is_open(now, leader)
    }

    /// The next batch to write to `leader`, if one may be written now. Answers with each batch once.
    pub(crate) fn poll_send(&mut self, now: Instant, leader: BrokerId, standing: Standing) -> Option<Send<'_, B>> {
        if !self.may_send(now, leader) {
            return None;
        }
        let index = self.in_flight;
        if self.rules.idempotent {
            self.stamp(index, standing)?;
        }
        let entry = self.entries.get_mut(index).filter(|entry| entry.state == State::Ready)?;
        entry.state = State::InFlight;
        entry.attempts = entry.attempts.saturating_add(1);
        self.in_flight += 1;
        self.asked = Some(leader);
        Some(Send { id: entry.id, stamp: entry.stamp, batch: &mut entry.batch })
    }

    /// Whether the next batch may go, its identity aside.
    fn may_send(&self, now: Instant, leader: BrokerId) -> bool {
        self.gate_is_open(now, leader)
            && self.entries.get(self.in_flight).is_some_and(|entry| entry.state == State::Ready)
    }

    /// What is in flight must be the oldest batches, in one piece: after a failure the rest of it is waited for.
    fn gate_is_open(&self, now: Instant, leader: BrokerId) -> bool {
        let in_one_piece = self.entries.iter().take(self.in_flight).all(|entry| entry.state == State::InFlight);
        let is_proven = self.in_flight == 0
            || (self.asked == Some(leader) && (!self.rules.idempotent || self.proven == Some(leader)))
            || plant::is(Plant::SecondBeforeFirst);
        in_one_piece
            && is_proven
            && self.in_flight < self.rules.max_in_flight
            && self.retry_at.is_none_or(|at| at <= now)
    }

    /// Gives the entry its stamp, unless it has one. `None` when it may not be sent in this standing.
    fn stamp(&mut self, index: usize, standing: Standing) -> Option<()> {
        if self.is_asked_after(index) && !plant::is(Plant::BumpWhileInFlight) {
            return Some(());
        }
        let Standing::Ready(producer) = standing else { return None };
        if self.identity != Some(producer) {
            self.begin(producer)?;
        } else if self.broken {
            return None;
        }
        let entry = self.entries.get_mut(index)?;
        if entry.stamp.is_none() {
            entry.stamp = Some(Stamp { producer, sequence: self.next_sequence });
            self.next_sequence = advance(self.next_sequence, entry.records);
        }
        Some(())
    }

    /// Whether the fate of a batch has to be found out under the stamp it has, whoever the producer is by now: because
    /// it may have been written, or one behind it, which no broker judges before this one.
    fn is_asked_after(&self, index: usize) -> bool {
        let is_stamped = self.entries.get(index).is_some_and(|entry| entry.stamp.is_some());
        is_stamped && self.entries.iter().skip(index).any(|entry| entry.maybe_written && entry.stamp.is_some())
    }

    /// Starts over under a new identity. Refused while anything of the old one is unsettled: that would be P6.
    fn begin(&mut self, producer: ProducerId) -> Option<()> {
        if !self.is_drained() && !plant::is(Plant::BumpWhileInFlight) {
            return None;
        }
        for entry in &mut self.entries {
            entry.stamp = None;
        }
        self.identity = Some(producer);
        self.next_sequence = 0;
        self.proven = None;
        (self.broken, self.told) = (false, false);
        Some(())
    }

    /// The broker wrote a batch (or said that it had it already).
    pub(crate) fn handle_acked(&mut self, id: BatchId, base_offset: i64, log_append_time: i64) {
        let Some(index) = self.land(id) else { return };
        if index > 0 && self.rules.idempotent {
            // An older batch is unsettled, so the broker took this one out of turn. It is asked again in its turn.
            self.entries[index].maybe_written = true;
            return;
        }
        if index > 0 {
            // Nobody could tell a second copy of it from the first, so it is done, before the older one.
            return self.finish(index, Outcome::Acked { base_offset, log_append_time });
        }
        self.failures = 0;
        self.retry_at = None;
        self.proven = self.asked;
        if let Some(oldest) = self.entries.front().filter(|_| base_offset >= 0) {
            self.last_acked = Some(base_offset.saturating_add(i64::from(oldest.records) - 1));
        }
        self.finish(0, Outcome::Acked { base_offset, log_append_time });
    }

    /// The broker refused a batch. `wait` is the backoff if it is to be tried again.
    pub(crate) fn handle_refused(
        &mut self,
        now: Instant,
        id: BatchId,
        refusal: impl Into<Refusal>,
        wait: Duration,
    ) -> Verdict {
        let refusal = refusal.into();
        let code = refusal.code;
        let verdict = Verdict::of(code);
        if verdict == Verdict::AlreadyWritten {
            self.handle_acked(id, -1, -1);
            return verdict;
        }
        let Some(index) = self.land(id) else { return verdict };
        self.entries[index].last = Some(code);
        self.entries[index].maybe_written |= verdict == Verdict::Unsure && !self.is_behind_unwritten(index);
        if index > 0 {
            // Whatever is wrong with it may only be that the one before it is missing.
            return Verdict::Retry;
        }
        self.settle_those_behind();
        match verdict {
            Verdict::TooLarge => return self.refuse_size(code),
            Verdict::Fail => self.fail_oldest(Failure::Refused(code)),
            Verdict::Broken if self.rules.idempotent => self.handle_broken(now, refusal, wait),
            Verdict::Broken => self.fail_oldest(Failure::Refused(code)),
            _ => self.try_again(now, wait),
        }
        verdict
    }

    /// The leader knows another sequence of this identity, or none. An oldest batch that was never written begins the next
    /// identity; one that may have been fails, because nobody could tell a second copy of it from the first, unless it is
    /// known why the leader has forgotten.
    fn handle_broken(&mut self, now: Instant, refusal: Refusal, wait: Duration) {
        let is_forgotten = refusal.code == ErrorCode::UNKNOWN_PRODUCER_ID;
        let maybe_written = self.entries.front().is_some_and(|oldest| oldest.maybe_written);
        if maybe_written && is_forgotten && refusal.log_start_offset < 0 {
            // The leader lost the partition while it answered. It, or another one, will say where the log begins.
            return self.try_again(now, wait);
        }
        // All that stood here of this producer has left the log by retention, and what was known of it has gone along: a
        // batch in the log would still be known (KIP-360).
        let is_aged = is_forgotten && self.last_acked.is_some_and(|last| last < refusal.log_start_offset);
        self.broken = true;
        if maybe_written && is_aged {
            self.entries.iter_mut().take(1).for_each(|oldest| oldest.maybe_written = false);
            self.settle_those_behind();
        } else if maybe_written {
            self.fail_oldest(Failure::Refused(refusal.code));
        }
        self.back_off(now, wait);
    }

    /// The oldest batch is too large. `TooLarge`: it waits to be split. An earlier attempt may have been written, if the
    /// topic's limit was another one then. The leader finds its halves out of order in that case, and as they may have
    /// been written, too, they fail and are not written twice.
    fn refuse_size(&mut self, code: ErrorCode) -> Verdict {
        match self.entries.front_mut() {
            Some(oldest) if oldest.records > 1 => {
                oldest.state = State::Sealing;
                Verdict::TooLarge
            }
            _ => {
                self.fail_oldest(Failure::Refused(code));
                Verdict::Fail
            }
        }
    }

    /// A batch that was too large was split: its parts, each with its number of records, take its place and its numbers.
    /// Nothing happens if it failed meanwhile.
    pub(crate) fn handle_split(&mut self, id: BatchId, split: impl FnOnce(B) -> Vec<(i32, B)>) {
        let is_waiting = |entry: &Entry<B>| entry.id == id && entry.state == State::Sealing;
        if !self.entries.front().is_some_and(is_waiting) {
            return;
        }
        let Some(whole) = self.entries.pop_front() else { return };
        let mut sequence = whole.stamp.map(|stamp| stamp.sequence);
        let mut parts = Vec::new();
        for (records, batch) in split(whole.batch) {
            let stamp = whole.stamp.map(|stamp| Stamp { sequence: sequence.unwrap_or(stamp.sequence), ..stamp });
            sequence = sequence.map(|sequence| advance(sequence, records));
            let id = BatchId(self.next_id);
            self.next_id += 1;
            parts.push(Entry {
                id,
                batch,
                records,
                deadline: whole.deadline,
                state: State::Ready,
                stamp,
                maybe_written: whole.maybe_written,
                attempts: 0,
                last: whole.last,
            });
        }
        parts.into_iter().rev().for_each(|part| self.entries.push_front(part));
    }

    /// A batch that was too large could not be split.
    pub(crate) fn handle_unsplit(&mut self, id: BatchId, code: ErrorCode) {
        let is_waiting = |entry: &Entry<B>| entry.id == id && entry.state == State::Sealing;
        if self.entries.front().is_some_and(is_waiting) {
            self.fail_oldest(Failure::Refused(code));
        }
    }

    /// The connection was lost, or the request could not be written.
    pub(crate) fn handle_lost(&mut self, now: Instant, id: BatchId, certainty: Certainty, wait: Duration) {
        self.proven = None;
        let Some(index) = self.land(id) else { return };
        self.entries[index].maybe_written |= certainty == Certainty::MaybeSent && !self.is_behind_unwritten(index);
        self.entries[index].stamp.take_if(|_| plant::is(Plant::NewSequenceOnRetry));
        if index == 0 {
            self.settle_those_behind();
            self.try_again(now, wait);
        }
    }

    /// Whether an older batch is known not to be written. Its leader knew the sequence before it (P1), so it refused
    /// whatever came after: such a batch cannot stand in the log either.
    fn is_behind_unwritten(&self, index: usize) -> bool {
        let unwritten = |entry: &Entry<B>| entry.state != State::InFlight && !entry.maybe_written;
        self.rules.idempotent && index > 0 && self.entries.front().is_some_and(unwritten)
    }

    /// The oldest batch came back: if it was not written, nothing behind it was.
    fn settle_those_behind(&mut self) {
        if self.is_behind_unwritten(1) {
            self.entries.iter_mut().skip(1).for_each(|entry| entry.maybe_written = false);
        }
    }

    fn try_again(&mut self, now: Instant, wait: Duration) {
        let Some(oldest) = self.entries.front() else { return };
        if oldest.attempts > self.rules.retries {
            let last = oldest.last;
            return self.fail_oldest(Failure::TriedTooOften { last });
        }
        self.back_off(now, wait);
        if plant::is(Plant::RetryBehind)
            && self.in_flight == 0
            && let Some(stamp) = self.entries.front_mut().and_then(|oldest| oldest.stamp.take())
        {
            self.next_sequence = stamp.sequence;
            self.entries.rotate_left(1);
        }
    }

    fn back_off(&mut self, now: Instant, wait: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    /// What is known of the cluster has changed: waiting longer has no purpose.
    pub(crate) fn handle_leader_known(&mut self) {
        if self.failures <= 1 {
            self.retry_at = None;
        }
    }

    /// The partition's log is another one (its topic was made again), or its leader's number now means another machine:
    /// that log or machine may never have heard of this producer, so the gate of P1 closes until it acknowledges
    /// something; what the one before still answers proves nothing. Numbers go on where they are: a log that does not
    /// know the producer accepts any first one.
    pub(crate) fn handle_moved(&mut self) {
        (self.asked, self.proven) = (None, None);
    }

    /// The topic was made again: the partition is another log, which has nothing of this producer (KIP-516). What waits
    /// here was meant for the name and goes to the new log, under a new identity, so that no number given out for the old
    /// log is given out again in case it comes back into sight. What may have been written is asked after first, with
    /// the stamp it has: a request that named the topic by its name may have reached the new log.
    ///
    /// With `goes_on` the identity stays, because it is that of an open transaction in which nothing was sent here, and the
    /// numbers go on where they are: the new log knows nothing of the producer and takes any first number.
    pub(crate) fn handle_recreated(&mut self, goes_on: bool) {
        self.handle_moved();
        self.last_acked = None;
        self.broken |= self.identity.is_some() && !goes_on;
    }

    /// Time has passed: the oldest batches whose time is over fail, unless they are on the wire.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
        while let Some(oldest) = self.entries.front()
            && oldest.deadline <= now
            && oldest.state != State::InFlight
            && !plant::is(Plant::NeverTimeOut)
        {
            let last = oldest.last;
            self.fail_oldest(Failure::TimedOut { last });
        }
    }

    /// The producer cannot go on: everything fails, oldest first.
    pub(crate) fn handle_dead(&mut self, why: Failure) {
        while !self.entries.is_empty() {
            self.fail_oldest(why);
        }
        self.in_flight = 0;
    }

    /// The transaction is to be aborted (KIP-654): what is not on the wire fails now, in its turn, and what is on the
    /// wire is waited for and not sent again. `false`: the next transaction has begun.
    pub(crate) fn handle_aborting(&mut self, aborting: bool) {
        self.aborting = aborting;
    }

    fn fail_aborted(&mut self) {
        while self.aborting && self.entries.front().is_some_and(|oldest| oldest.state != State::InFlight) {
            self.fail_oldest(Failure::Aborted);
        }
    }

    /// A batch whose fate is known, in append order.
    pub(crate) fn poll_done(&mut self) -> Option<Done<B>> {
        self.fail_aborted();
        self.done.pop_front()
    }

    /// The identity that is over in this partition: it needs another one to go on. Answers once for each.
    pub(crate) fn poll_broken(&mut self) -> Option<ProducerId> {
        let is_news = self.broken && !std::mem::replace(&mut self.told, self.broken);
        self.identity.filter(|_| is_news)
    }

    /// Whether nothing stamped is in flight or may have been written unseen.
    pub(crate) fn is_drained(&self) -> bool {
        self.entries
            .iter()
            .all(|entry| entry.state != State::InFlight && !(entry.maybe_written && entry.stamp.is_some()))
    }

    /// When `handle_timeout` or `poll_send` has something to do because of the time alone.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let is_timed = |oldest: &&Entry<B>| oldest.state != State::InFlight && !plant::is(Plant::NeverTimeOut);
        let oldest = self.entries.front().filter(is_timed);
        // The backoff outlives the batch that caused it: an open batch waits for it too.
        oldest.map(|oldest| oldest.deadline).into_iter().chain(self.retry_at).min()
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// A batch that is still here.
    pub(crate) fn batch(&self, id: BatchId) -> Option<&B> {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| &entry.batch)
    }

    /// The oldest batch that is not on the wire, if it is ready to go there.
    pub(crate) fn next(&self) -> Option<&B> {
        self.entries.get(self.in_flight).filter(|entry| entry.state == State::Ready).map(|entry| &entry.batch)
    }

    /// All batches, oldest first.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &B> {
        self.entries.iter().map(|entry| &entry.batch)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a batch waits here that is not on the wire: then a younger one need not be sealed early.
    pub(crate) fn has_waiting(&self) -> bool {
        self.entries.len() > self.in_flight
    }

    fn entry(&mut self, id: BatchId) -> Option<&mut Entry<B>> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// A batch came back from the wire. Its index, if it is still here.
    fn land(&mut self, id: BatchId) -> Option<usize> {
        let index = self.entries.iter().position(|entry| entry.id == id && entry.state == State::InFlight)?;
        self.entries[index].state = State::Ready;
        self.in_flight -= 1;
        Some(index)
    }

    fn finish(&mut self, index: usize, outcome: Outcome) {
        if let Some(entry) = self.entries.remove(index) {
            self.done.push_back(Done { batch: entry.batch, outcome });
        }
    }

    /// The oldest batch fails for good, and the chain of numbers behind it is mended (P7).
    fn fail_oldest(&mut self, why: Failure) {
        let Some(entry) = self.entries.front() else { return };
        let maybe_written = entry.maybe_written || entry.state == State::InFlight;
        if let Some(stamp) = entry.stamp {
            let is_last = self.entries.iter().skip(1).all(|younger| younger.stamp.is_none());
            if is_last && (!maybe_written || plant::is(Plant::ReuseNumbers)) {
                self.next_sequence = stamp.sequence;
            } else {
                self.broken = true;
            }
        }
        if entry.state == State::InFlight {
            self.in_flight -= 1;
        }
        self.finish(0, Outcome::Failed { why, maybe_written });
    }
}

/// The sequence number after `records` more (wraps to 0, as `DefaultRecordBatch.incrementSequence` does).
fn advance(sequence: i32, records: i32) -> i32 {
    let next = i64::from(sequence) + i64::from(records);
    let wrapped = if next > i64::from(i32::MAX) { next - i64::from(i32::MAX) - 1 } else { next };
    i32::try_from(wrapped).unwrap_or(0)
}

#[cfg(test)]
mod tests;
