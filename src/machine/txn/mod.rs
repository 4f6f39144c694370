//! One transactional id: what is asked of its coordinator, in which order, and what the answers mean.
//!
//! ```text
//!                   granted              begin            commit, abort           answered
//!   Initializing ───────────▶ Ready ──────────▶ Open ──────────────────▶ Ending ─────────────▶ Ready
//!        ▲                                       │                       ▲    │ ▲              or Initializing,
//!        │                       something failed▼          abort, commit│    │ │ resolve      if a new epoch is due
//!        │                                   AbortOnly ──────────────────┘    ▼ │
//!        └──────────────────────────────────────────────────────────────── Unknown: EndTxn stays unanswered
//!
//!   any ──── another producer owns the id ────▶ Fenced (asks by whom) ────▶ Fatal ◀──── refused for good ──── any
//! ```
//!
//! Rules this file keeps (the numbers are those of the must-not-have list):
//! - T1  the version of transactions is that of the feature `transaction.version`, fixed when a transaction begins;
//! - T3  a partition counts as added when the coordinator says so, and never less from then on;
//! - T4  an end that is not answered is neither a commit nor an abort: it is asked for again in the same words, and when
//!   no answer comes it is `Unknown`;
//! - T5  a coordinator that is busy with the transaction before is asked again soon;
//! - T8  whatever fails leads to an abort, and an abort never waits for what has failed;
//! - one request at a time is on its way to the coordinators;
//! - nothing but EndTxn ends what the coordinator may have heard of; what it cannot have heard of needs no end;
//! - in the first version all transactions of an id have one epoch, so a request that was lost could come late and meet
//!   the next transaction: that one then gets a new epoch (KIP-360), as every one does in the second (KIP-890);
//! - fenced is terminal.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    plant::{self, Plant},
    wire::{ErrorCode, Str},
};

use super::identity::ProducerId;

mod class;
mod judge;
mod replies;
mod words;
mod work;

use class::Class;
pub(crate) use judge::{Fencer, Phase};
pub(crate) use words::{Ask, Death, End, Reply, Request, Step, Told, Version, Why};
use work::{Bump, Ending, Work};

/// One transactional id. Partitions are the sender's numbers.
#[derive(Debug)]
pub(crate) struct Txn {
    state: State,
    producer: ProducerId,
    asked: Option<Ask>,
    /// When the step that is under way was asked for first.
    since: Option<(Step, Instant)>,
    retry_at: Option<Instant>,
    failures: u32,
    /// Whether the coordinator may be another one.
    fresh: bool,
    /// How long one thing is asked for.
    limit: Duration,
    told: VecDeque<Told>,
}

#[derive(Debug)]
enum State {
    /// InitProducerId is asked for.
    Initializing {
        expected: Option<ProducerId>,
        /// The old identity is as good, if the broker cannot raise it.
        optional: bool,
    },
    Ready,
    Open(Work),
    AbortOnly(Work, Why),
    Ending(Ending),
    Unknown(Ending),
    /// Another producer, or the coordinator itself, has ended what was ours; or the coordinator knows nothing of us.
    Fenced {
        version: Version,
        /// What was refused, and how.
        refused: (Step, ErrorCode),
        /// An end was asked for, and may have happened.
        unsure: Option<bool>,
        committed: Option<bool>,
    },
    Fatal,
}

impl Txn {
    /// `limit` is how long a coordinator is asked for one thing before it counts as silent.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            state: State::Initializing { expected: None, optional: false },
            producer: ProducerId { id: -1, epoch: -1 },
            asked: None,
            since: None,
            retry_at: None,
            failures: 0,
            fresh: false,
            limit,
            told: VecDeque::new(),
        }
    }

    /// A transaction begins. `false` if none can begin now.
    pub(crate) fn handle_begin(&mut self, version: Version) -> bool {
        let ready = matches!(self.state, State::Ready);
        if ready {
            self.state = State::Open(Work::new(version));
        }
        ready
    }

    /// Whether a batch for this partition may go. If it only waits to be added, it is asked for, and told of by `Added`.
    pub(crate) fn admit(&mut self, partition: usize) -> bool {
        let work = match &mut self.state {
            State::Open(work) | State::Ending(Ending { work, commit: true, .. }) => work,
            _ => return false,
        };
        if work.version == Version::Second {
            work.touched = true;
            return true;
        }
        let added = work.added.contains(&partition) || plant::is(Plant::NeverAdd);
        if !added {
            work.wanted.insert(partition);
        }
        added
    }

    /// Offsets of this group are to go with the transaction. `Err` if it can only be aborted.
    pub(crate) fn handle_offsets(&mut self, number: u64, group: Str) {
        match &mut self.state {
            State::Open(work) => work.offsets.push_back((number, group)),
            State::AbortOnly(_, why) => {
                let why = *why;
                self.told.push_back(Told::Offsets(number, Err(why)));
            }
            _ => self.told.push_back(Told::Offsets(number, Err(Why::Wish))),
        }
    }

    /// A batch stands in its log: in the second version its partition is in the transaction by that.
    pub(crate) fn handle_written(&mut self) {
        if let State::Open(work) | State::AbortOnly(work, _) | State::Ending(Ending { work, .. }) = &mut self.state {
            work.confirmed |= work.version == Version::Second;
        }
    }

    /// A batch failed for good (T8).
    pub(crate) fn handle_failed(&mut self, why: Why) {
        self.fail(why);
    }

    /// Whether a transaction is under way that has the epoch of those before, and nothing in this partition (KIP-516): its
    /// log may become another one, and all that was written there belongs to transactions that are over. In the second
    /// version every transaction has an epoch of its own, in which nothing is broken by what was before.
    pub(crate) fn is_outside(&self, partition: usize) -> bool {
        match &self.state {
            State::Open(work)
            | State::AbortOnly(work, _)
            | State::Ending(Ending { work, .. })
            | State::Unknown(Ending { work, .. }) => {
                work.version == Version::First && !work.added.contains(&partition) && !work.wanted.contains(&partition)
            }
            _ => false,
        }
    }

    /// A partition's chain of sequence numbers is broken: nothing more can be written in this epoch.
    pub(crate) fn handle_broken(&mut self, why: Why) {
        match &mut self.state {
            State::Open(work)
            | State::AbortOnly(work, _)
            | State::Ending(Ending { work, .. })
            | State::Unknown(Ending { work, .. }) => work.bump = Bump::Must,
            // The topic was made again between two transactions.
            State::Ready => self.state = State::Initializing { expected: Some(self.producer), optional: false },
            State::Initializing { optional, .. } => *optional = false,
            State::Fenced { .. } | State::Fatal => {}
        }
        // All of it is written, and the commit may be done: it is not taken back (T4).
        if !self.may_be_committed() {
            self.fail(why);
        }
    }

    /// The caller ends the transaction. Batches that wait are to go now, or to fail.
    pub(crate) fn handle_end(&mut self, commit: bool) {
        self.state = match std::mem::replace(&mut self.state, State::Fatal) {
            State::Open(work) if commit => State::Ending(Ending { work, commit, why: Why::Wish, unsure: false }),
            State::Open(work) => {
                self.told.push_back(Told::Aborting(Why::Wish));
                State::Ending(Ending::abort(work, Why::Wish))
            }
            State::AbortOnly(work, why) => State::Ending(Ending::abort(work, why)),
            state => state,
        };
        self.drop_offsets();
    }

    /// What became of the last transaction has to be found out: the coordinator is asked once more for its end.
    pub(crate) fn handle_resolve(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Fatal) {
            State::Unknown(ending) => State::Ending(ending),
            state => state,
        };
    }

    /// A broker says that this producer is not the one any more.
    pub(crate) fn handle_dead(&mut self, step: Step, code: ErrorCode) {
        match Class::of(step, code) {
            Class::Fenced => self.fenced(step, code),
            _ => self.die(Death::Refused(step, code), None),
        }
    }

    /// The next request for a coordinator, once. `drained`: no batch waits, and none is on the wire.
    pub(crate) fn poll_request(&mut self, now: Instant, drained: bool) -> Option<Request> {
        if self.asked.is_some() || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        self.retry_at = None;
        let ask = self.next(drained)?;
        if let State::Open(work) | State::Ending(Ending { work, .. }) = &mut self.state {
            work.touched |= !matches!(ask, Ask::End { .. });
        }
        self.since = self.since.filter(|(step, _)| *step == ask.step()).or(Some((ask.step(), now)));
        self.asked = Some(ask.clone());
        let fresh = std::mem::take(&mut self.fresh);
        Some(Request { ask, producer: self.producer, version: self.version(), fresh })
    }

    fn next(&mut self, drained: bool) -> Option<Ask> {
        match &mut self.state {
            State::Initializing { expected, .. } => return Some(Ask::Init { expected: *expected }),
            State::Fenced { .. } => return Some(Ask::Describe),
            State::Open(work) | State::Ending(Ending { work, commit: true, .. }) => {
                if let Some(ask) = work.next() {
                    return Some(ask);
                }
            }
            _ => {}
        }
        let State::Ending(ending) = &self.state else { return None };
        if !drained {
            return None;
        }
        if ending.work.touched {
            return Some(Ask::End { commit: ending.commit });
        }
        // The coordinator has not heard of it.
        let end = if ending.commit { End::Committed } else { End::Aborted(ending.why) };
        self.finish(end);
        None
    }

    /// Something failed: from here on there is only an abort.
    fn fail(&mut self, why: Why) {
        self.state = match std::mem::replace(&mut self.state, State::Fatal) {
            State::Open(work) => {
                self.told.push_back(Told::Aborting(why));
                State::AbortOnly(work, why)
            }
            State::Ending(ending) if ending.commit => {
                self.told.push_back(Told::Aborting(why));
                State::Ending(Ending::abort(ending.work, why))
            }
            state => state,
        };
        self.settled();
        self.drop_offsets();
    }

    /// In an abort nothing more is added, and whoever waits for that hears of it.
    fn drop_offsets(&mut self) {
        let (work, why) = match &mut self.state {
            State::AbortOnly(work, why) | State::Ending(Ending { work, commit: false, why, .. }) => (work, *why),
            _ => return,
        };
        work.wanted.clear();
        let dropped = work.offsets.drain(..).map(|(number, _)| Told::Offsets(number, Err(why)));
        self.told.extend(dropped);
    }

    /// The transaction is over. If something of it may come late, the next one gets a new epoch.
    fn finish(&mut self, end: End) {
        let bump = match &self.state {
            State::Ending(Ending { work, .. }) => work.bump,
            _ => return,
        };
        self.settled();
        let fresh_epoch = State::Initializing { expected: Some(self.producer), optional: bump < Bump::Must };
        self.state = if bump == Bump::No { State::Ready } else { fresh_epoch };
        self.told.push_back(Told::Ended(end));
    }

    fn identify(&mut self, producer: ProducerId) {
        if let State::Ending(ending) = &mut self.state
            && producer != self.producer
        {
            // A new epoch is what was wanted.
            ending.work.bump = Bump::No;
        }
        if producer != self.producer {
            self.producer = producer;
            self.told.push_back(Told::Identity(producer));
        }
    }

    /// Whether a commit was asked for that may have been done.
    pub(crate) fn may_be_committed(&self) -> bool {
        self.is_unsure() == Some(true)
    }

    /// What an EndTxn asked for that may have been done.
    fn is_unsure(&self) -> Option<bool> {
        match &self.state {
            State::Ending(ending) if ending.unsure || matches!(self.asked, Some(Ask::End { .. })) => {
                Some(ending.commit)
            }
            _ => None,
        }
    }

    /// What the caller may be told for certain: a refusal of the first attempt means that nothing was committed.
    fn certainly_not(&self) -> Option<bool> {
        match &self.state {
            _ if self.may_be_committed() => None,
            State::Open(_) | State::AbortOnly(..) | State::Ending(_) => Some(false),
            _ => None,
        }
    }

    fn fenced(&mut self, step: Step, code: ErrorCode) {
        if matches!(self.state, State::Fenced { .. } | State::Fatal) {
            return;
        }
        let (version, committed, unsure) = (self.version(), self.certainly_not(), self.is_unsure());
        self.fail(Why::Refused(step, code));
        self.settled();
        self.state = State::Fenced { version, refused: (step, code), unsure, committed };
    }

    fn die(&mut self, why: Death, committed: Option<bool>) {
        if matches!(self.state, State::Fatal) {
            return;
        }
        self.fail(match why {
            Death::Fenced(_) => Why::Refused(Step::End, ErrorCode::PRODUCER_FENCED),
            Death::Refused(step, code) => Why::Refused(step, code),
        });
        self.settled();
        self.state = State::Fatal;
        self.told.push_back(Told::Dead { why, committed });
    }

    /// What was asked is answered: the next thing has its own time.
    fn settled(&mut self) {
        if self.asked.is_none() {
            (self.since, self.retry_at, self.failures) = (None, None, 0);
        }
    }

    /// What has happened since the last call.
    pub(crate) fn poll_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// When `poll_request` has something to do because of the time alone.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.asked.is_none())
    }

    /// How often the request under way was asked in vain, for the backoff.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether a transaction can begin.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// Whether a transaction is open, sound or not.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_) | State::AbortOnly(..))
    }

    /// Whether nothing more of the transaction may be written.
    pub(crate) fn is_aborting(&self) -> bool {
        matches!(self.state, State::AbortOnly(..) | State::Ending(Ending { commit: false, .. }) | State::Fenced { .. })
    }

    /// Whether an end is under way.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending(_) | State::Fenced { .. })
    }

    /// Whether the last transaction's outcome is not known, and nobody asks for it.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.state, State::Unknown(_))
    }

    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, State::Fatal)
    }

    /// That of the open transaction.
    pub(crate) fn version(&self) -> Version {
        match &self.state {
            State::Open(work) | State::AbortOnly(work, _) => work.version,
            State::Ending(ending) | State::Unknown(ending) => ending.work.version,
            State::Fenced { version, .. } => *version,
            _ => Version::First,
        }
    }
}

/// The wait for a coordinator, or a partition, that is still busy with the transaction before (T5).
pub(crate) const SOON: Duration = Duration::from_millis(20);
/// How a coordinator says that it does not know the producer id: its transactional id expired, or is another's now. A
/// producer that came back from that could write what a newer one had written before it, too (KAFKA-18019).
const FORGOTTEN: ErrorCode = ErrorCode::INVALID_PRODUCER_ID_MAPPING;
/// How long a dead producer asks who killed it.
const DESCRIBING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
