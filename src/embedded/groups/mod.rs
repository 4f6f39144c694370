//! Consumer groups: who is in them, who reads what, and how far they are.
//!
//! Rules this module keeps:
//! - one lock for all groups, taken before any other; no answer is awaited under it;
//! - a group is of the classic protocol or of the new one (KIP-848), or of none while nobody has joined;
//! - its offsets outlive its members, and a group without both is forgotten after a while;
//! - memory is bounded: the number of groups, members in a group, and bytes that clients send to be kept ([`Budget`]).

mod budget;
mod offsets;

#[cfg(test)]
mod consumer;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

pub(super) use self::{
    budget::{Budget, Charge},
    offsets::{Committed, Offsets},
};
use super::{Shared, timers::Timer};

/// All groups of the cluster.
#[derive(Debug)]
pub(super) struct Groups {
    state: Mutex<State>,
    budget: Budget,
}

#[derive(Debug, Default)]
struct State {
    by_id: BTreeMap<String, Group>,
    /// By producer id: the groups in which its transaction has staged offsets.
    staged: BTreeMap<i64, BTreeSet<String>>,
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) offsets: Offsets,
    pub(super) members: Members,
    /// Since when nobody is in it and nothing was committed.
    idle_since: Instant,
    /// For when its timer is set.
    armed: Option<Instant>,
    _charge: Charge,
}

/// Who is in a group, and by which protocol.
#[derive(Debug, Default)]
pub(super) enum Members {
    /// Nobody yet: offsets were committed from outside, or the last member has left and been forgotten.
    #[default]
    Empty,
}

/// Who a request says it comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Membership {
    /// Empty if the sender is in no group.
    pub(super) member_id: String,
    /// The generation (classic) or the member's epoch (KIP-848); −1 if the sender is in no group.
    pub(super) generation_or_epoch: i32,
    /// KIP-345.
    pub(super) group_instance_id: Option<String>,
}

/// What kind of request wants a membership checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// OffsetCommit in this version.
    Plain(i16),
    /// TxnOffsetCommit, in any version.
    Transactional,
}

impl Groups {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { state: Mutex::default(), budget: Budget::new(max_bytes) }
    }

    /// Runs `act` on a group, and sets its timer afterwards. `None` if there is no such group.
    pub(super) fn with<R>(&self, shared: &Shared, id: &str, act: impl FnOnce(&mut Group, Instant) -> R) -> Option<R> {
        let now = Instant::now();
        let mut state = self.lock();
        let group = state.by_id.get_mut(id)?;
        let result = act(group, now);
        group.settle(shared, id, now);
        Some(result)
    }

    /// The same, on a new group if there was none.
    ///
    /// # Errors
    /// GROUP_MAX_SIZE_REACHED if there is no room for another group.
    pub(super) fn with_new<R>(
        &self,
        shared: &Shared,
        id: &str,
        act: impl FnOnce(&mut Group, Instant) -> R,
    ) -> Result<R, ResponseError> {
        self.create(id)?;
        self.with(shared, id, act).ok_or(ResponseError::CoordinatorNotAvailable)
    }

    fn create(&self, id: &str) -> Result<(), ResponseError> {
        let mut state = self.lock();
        if !state.by_id.contains_key(id) {
            if state.by_id.len() >= MAX_GROUPS {
                return Err(ResponseError::GroupMaxSizeReached);
            }
            let group = Group::new(self.budget.take(id.len())?);
            state.by_id.insert(id.to_owned(), group);
        }
        Ok(())
    }

    /// What members and offsets are charged to.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Looks at the deadlines of a group: sessions that end, rebalances that have waited long enough.
    pub(super) fn handle_timeout(&self, shared: &Shared, id: &str, now: Instant) {
        let mut state = self.lock();
        let Some(group) = state.by_id.get_mut(id) else { return };
        group.armed = group.armed.filter(|armed| *armed > now);
        if group.handle_timeout(shared, now) {
            state.remove(id);
        } else {
            group.settle(shared, id, now);
        }
    }

    /// Whether this sender may commit offsets in a transaction.
    ///
    /// # Errors
    /// What TxnOffsetCommit is to answer for every partition.
    #[expect(dead_code, reason = "for transactions")]
    pub(super) fn check_member(&self, group_id: &str, sender: &Membership) -> Result<(), ResponseError> {
        match self.lock().by_id.get(group_id) {
            Some(group) => group.members.check_commit(sender, Commit::Transactional),
            None if sender.generation_or_epoch < 0 => Ok(()),
            None => Err(ResponseError::IllegalGeneration),
        }
    }

    /// Keeps offsets until the transaction of this producer ends.
    ///
    /// # Errors
    /// What TxnOffsetCommit is to answer for every partition if there is no room; nothing is kept then.
    #[expect(dead_code, reason = "for transactions")]
    pub(super) fn stage_offsets(
        &self,
        group_id: &str,
        producer_id: i64,
        offsets: Vec<(String, i32, Committed)>,
    ) -> Result<(), ResponseError> {
        self.create(group_id).map_err(|_| ResponseError::InvalidCommitOffsetSize)?;
        let mut state = self.lock();
        state.staged.entry(producer_id).or_default().insert(group_id.to_owned());
        let group = state.by_id.get_mut(group_id).ok_or(ResponseError::CoordinatorNotAvailable)?;
        for (topic, index, committed) in offsets {
            group.offsets.stage(&self.budget, producer_id, (topic, index), committed)?;
        }
        Ok(())
    }

    /// Commits or forgets what a producer's transaction has staged in any group.
    #[expect(dead_code, reason = "for transactions")]
    pub(super) fn end_transaction(&self, producer_id: i64, commit: bool) {
        let mut state = self.lock();
        for id in state.staged.remove(&producer_id).unwrap_or_default() {
            if let Some(group) = state.by_id.get_mut(&id) {
                group.offsets.end_transaction(producer_id, commit);
            }
        }
    }

    /// Forgets all offsets of a topic that is no more.
    pub(super) fn delete_topic(&self, topic: &str) {
        self.lock().by_id.values_mut().for_each(|group| group.offsets.delete_topic(topic));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, id: &str) {
        let Some(group) = self.by_id.remove(id) else { return };
        for producer_id in group.offsets.producers() {
            if let Some(groups) = self.staged.get_mut(&producer_id) {
                groups.remove(id);
            }
        }
    }
}

impl Group {
    fn new(charge: Charge) -> Self {
        Self {
            offsets: Offsets::default(),
            members: Members::Empty,
            idle_since: Instant::now(),
            armed: None,
            _charge: charge,
        }
    }

    /// Commits an offset.
    ///
    /// # Errors
    /// INVALID_COMMIT_OFFSET_SIZE if there is no room for it.
    pub(super) fn commit(
        &mut self,
        budget: &Budget,
        partition: (String, i32),
        committed: Committed,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.idle_since = now;
        self.offsets.commit(budget, partition, committed)
    }

    /// Does what is due. Returns whether the group is to be forgotten.
    fn handle_timeout(&mut self, shared: &Shared, now: Instant) -> bool {
        self.members.handle_timeout(shared, now);
        if !self.members.is_empty() || now < self.idle_until(shared) {
            return false;
        }
        self.offsets.expire();
        self.idle_since = now;
        self.offsets.is_empty()
    }

    /// Sets the timer to the next deadline, if it is not set for an earlier one.
    fn settle(&mut self, shared: &Shared, id: &str, now: Instant) {
        let next = if self.members.is_empty() {
            self.idle_until(shared)
        } else {
            self.idle_since = now;
            let Some(next) = self.members.deadline() else { return };
            next
        };
        if self.armed.is_none_or(|armed| next < armed) {
            self.armed = Some(next);
            shared.timers.set(next, Timer::Group(id.to_owned()));
        }
    }

    /// Until when an empty group is kept (KIP-211).
    fn idle_until(&self, shared: &Shared) -> Instant {
        let kept = if self.offsets.is_empty() { EMPTY_GROUP_KEPT } else { shared.settings.offsets_retention };
        self.idle_since + kept
    }
}

impl Members {
    /// Whether nobody is in the group, nor about to be.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
        }
    }

    /// When [`Members::handle_timeout`] is to be called next.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Empty => None,
        }
    }

    /// Does what is due.
    fn handle_timeout(&mut self, _shared: &Shared, _now: Instant) {
        match self {
            Self::Empty => {}
        }
    }

    /// Whether this sender may commit offsets.
    pub(super) fn check_commit(&self, sender: &Membership, _commit: Commit) -> Result<(), ResponseError> {
        match self {
            Self::Empty if sender.generation_or_epoch < 0 => Ok(()),
            Self::Empty => Err(ResponseError::UnknownMemberId),
        }
    }

    /// A commit is a sign of life of a classic member.
    pub(super) fn touch(&mut self, _sender: &Membership, _now: Instant) {
        match self {
            Self::Empty => {}
        }
    }

    /// Whether this sender may ask for committed offsets; `None` and −1 come from outside the group.
    pub(super) fn check_fetch(&self, _member_id: Option<&str>, _epoch: i32) -> Result<(), ResponseError> {
        match self {
            Self::Empty => Ok(()),
        }
    }
}

/// More groups than this are refused.
const MAX_GROUPS: usize = 10_000;

/// How long a group without members and offsets is remembered, as Kafka's `offsets.retention.check.interval.ms`.
const EMPTY_GROUP_KEPT: Duration = Duration::from_secs(600);
