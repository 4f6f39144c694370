//! Consumer groups: who is in them, who reads what, and how far they are.
//!
//! Rules this module keeps:
//! - one lock for all groups, taken before any other; no answer is awaited under it;
//! - a group is of the classic protocol or of the new one (KIP-848), or of none while nobody has joined;
//! - its offsets outlive its members, and a group without both is forgotten after a while;
//! - memory is bounded: the number of groups, members in a group, and bytes that clients send to be kept ([`Budget`]).

mod budget;
mod classic;
pub(super) mod consumer;
mod offsets;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use self::consumer::{Consumer, Member};
pub(super) use self::{
    budget::{Budget, Charge},
    classic::{Classic, Described, Join, Joined, Limits, Refused, Sync, Synced},
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
    Classic(Box<Classic>),
    Consumer(Box<Consumer>),
}

/// A member of a group, as the group's coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// The id that the coordinator or the client has made up.
    pub member_id: String,
    /// The name of a static member (KIP-345). Java's property: `group.instance.id`.
    pub group_instance_id: Option<String>,
    /// What the client calls itself. Java's property: `client.id`.
    pub client_id: String,
    /// The generation of a classic group, or the member's own epoch (KIP-848).
    pub generation: i32,
}

/// A group in a list of them.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) protocol_type: String,
    pub(super) state: &'static str,
    pub(super) kind: &'static str,
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
            state.remove(shared, id);
        } else {
            group.settle(shared, id, now);
        }
    }

    /// Whether this sender may commit offsets in a transaction.
    ///
    /// # Errors
    /// What TxnOffsetCommit is to answer for every partition.
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
    pub(super) fn stage_offsets(
        &self,
        group_id: &str,
        producer_id: i64,
        offsets: Vec<(String, i32, Committed)>,
    ) -> Result<(), ResponseError> {
        let charge = |(topic, _, committed): &(String, i32, Committed)| offsets::charge(&self.budget, topic, committed);
        let charges = offsets.iter().map(charge).collect::<Result<Vec<_>, _>>()?;
        self.create(group_id).map_err(|_| ResponseError::InvalidCommitOffsetSize)?;
        let State { by_id, staged } = &mut *self.lock();
        let group = by_id.get_mut(group_id).ok_or(ResponseError::CoordinatorNotAvailable)?;
        staged.entry(producer_id).or_default().insert(group_id.to_owned());
        for ((topic, index, committed), charge) in offsets.into_iter().zip(charges) {
            group.offsets.stage(producer_id, (topic, index), committed, charge);
        }
        Ok(())
    }

    /// Commits or forgets what a producer's transaction has staged in any group.
    pub(super) fn end_transaction(&self, producer_id: i64, commit: bool) {
        let mut state = self.lock();
        for id in state.staged.remove(&producer_id).unwrap_or_default() {
            if let Some(group) = state.by_id.get_mut(&id) {
                group.offsets.end_transaction(producer_id, commit);
            }
        }
    }

    /// All groups, ordered by id.
    pub(super) fn list(&self) -> Vec<Listed> {
        let listed = |(id, group): (&String, &Group)| Listed {
            id: id.clone(),
            protocol_type: group.members.protocol_type().to_owned(),
            state: group.members.state(),
            kind: group.members.kind(),
        };
        self.lock().by_id.iter().map(listed).collect()
    }

    /// Forgets a group and its offsets.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, or NON_EMPTY_GROUP while somebody is in it.
    pub(super) fn delete(&self, shared: &Shared, id: &str) -> Result<(), ResponseError> {
        let mut state = self.lock();
        match state.by_id.get(id) {
            None => Err(ResponseError::GroupIdNotFound),
            Some(group) if !group.members.is_empty() => Err(ResponseError::NonEmptyGroup),
            Some(_) => {
                state.remove(shared, id);
                Ok(())
            }
        }
    }

    /// Everybody in a group, ordered by member id.
    pub(super) fn members(&self, id: &str) -> Vec<GroupMember> {
        self.lock().by_id.get(id).map(|group| group.members.list()).unwrap_or_default()
    }

    /// Removes a member as if its session had ended. Returns whether it was there.
    pub(super) fn expire(&self, shared: &Shared, id: &str, member_id: &str) -> bool {
        self.with(shared, id, |group, now| group.members.expire(member_id, now)).unwrap_or(false)
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
    fn remove(&mut self, shared: &Shared, id: &str) {
        let Some(group) = self.by_id.remove(id) else { return };
        if let Some(armed) = group.armed {
            shared.timers.cancel(armed, Timer::Group(id.to_owned()));
        }
        for producer_id in group.offsets.producers() {
            if let Some(groups) = self.staged.get_mut(&producer_id) {
                groups.remove(id);
            }
        }
        self.staged.retain(|_, groups| !groups.is_empty());
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

    /// Sets the timer to the next deadline, if it is not set for an earlier one. A group has one timer at most.
    fn settle(&mut self, shared: &Shared, id: &str, now: Instant) {
        let idle = if self.members.is_empty() { Some(self.idle_until(shared)) } else { None };
        if idle.is_none() {
            self.idle_since = now;
        }
        let Some(next) = self.members.deadline().into_iter().chain(idle).min() else { return };
        if self.armed.is_none_or(|armed| next < armed) {
            if let Some(later) = self.armed.replace(next) {
                shared.timers.cancel(later, Timer::Group(id.to_owned()));
            }
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
    /// The classic group that this is, or that it becomes because nobody is in it; `None` if its members speak another
    /// protocol.
    pub(super) fn as_classic(&mut self, limits: Limits, budget: &Budget) -> Option<&mut Classic> {
        // A group of the new protocol that everybody has left is converted; its offsets stay.
        if let (Self::Empty | Self::Consumer(_), true) = (&*self, self.is_empty()) {
            *self = Self::Classic(Box::new(Classic::new(limits, budget.clone())));
        }
        match self {
            Self::Classic(classic) => Some(classic),
            Self::Empty | Self::Consumer(_) => None,
        }
    }

    /// The group of the new protocol that this is, or that it becomes because somebody `joins` and nobody is in it.
    pub(super) fn as_consumer(&mut self, joins: bool, budget: &Budget) -> Option<&mut Consumer> {
        if let (Self::Empty | Self::Classic(_), true, true) = (&*self, joins, self.is_empty()) {
            *self = Self::Consumer(Box::new(Consumer::new(budget.clone())));
        }
        match self {
            Self::Consumer(consumer) => Some(consumer),
            Self::Empty | Self::Classic(_) => None,
        }
    }

    /// Whether nobody is in the group.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Classic(classic) => classic.is_empty(),
            Self::Consumer(consumer) => consumer.is_empty(),
        }
    }

    /// When [`Members::handle_timeout`] is to be called next.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Empty => None,
            Self::Classic(classic) => classic.deadline(),
            Self::Consumer(consumer) => consumer.next_deadline(),
        }
    }

    /// Does what is due.
    fn handle_timeout(&mut self, _shared: &Shared, now: Instant) {
        match self {
            Self::Empty => {}
            Self::Classic(classic) => classic.handle_timeout(now),
            Self::Consumer(consumer) => drop(consumer.handle_timeout(now)),
        }
    }

    /// Whether this sender may commit offsets.
    pub(super) fn check_commit(&self, sender: &Membership, commit: Commit) -> Result<(), ResponseError> {
        match self {
            Self::Empty if sender.generation_or_epoch < 0 => Ok(()),
            Self::Empty => Err(ResponseError::UnknownMemberId),
            Self::Classic(classic) => classic.check_commit(sender, commit),
            Self::Consumer(consumer) => consumer.check_sender(sender, commit),
        }
    }

    /// A commit is a sign of life of a classic member.
    pub(super) fn touch(&mut self, sender: &Membership, now: Instant) {
        match self {
            Self::Empty | Self::Consumer(_) => {}
            Self::Classic(classic) => classic.touch(&sender.member_id, now),
        }
    }

    /// Whether this sender may ask for committed offsets; `None` and −1 come from outside the group.
    pub(super) fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ResponseError> {
        match self {
            // Kafka asks no member of a classic group who it is.
            Self::Empty | Self::Classic(_) => Ok(()),
            Self::Consumer(consumer) => consumer.check_fetch(member_id, epoch),
        }
    }

    /// Whether offsets of single partitions may be deleted at all.
    pub(super) fn check_delete_offsets(&self) -> Result<(), ResponseError> {
        match self {
            Self::Empty | Self::Consumer(_) => Ok(()),
            Self::Classic(classic) => classic.check_delete_offsets(),
        }
    }

    /// Whether a member reads this topic, as far as can be told.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Self::Empty => false,
            Self::Classic(classic) => classic.is_subscribed_to(topic),
            Self::Consumer(consumer) => consumer.subscribes_to(topic),
        }
    }

    fn list(&self) -> Vec<GroupMember> {
        match self {
            Self::Empty => Vec::new(),
            Self::Classic(classic) => {
                let member = |it: Described| GroupMember {
                    member_id: it.member_id,
                    group_instance_id: it.group_instance_id,
                    client_id: it.client_id,
                    generation: classic.generation(),
                };
                classic.describe().into_iter().map(member).collect()
            }
            Self::Consumer(consumer) => {
                let member = |(it, _): (&Member, _)| GroupMember {
                    member_id: it.id.clone(),
                    group_instance_id: it.instance_id.clone(),
                    client_id: it.client_id.clone(),
                    generation: it.epoch,
                };
                consumer.members().map(member).collect()
            }
        }
    }

    fn expire(&mut self, member_id: &str, now: Instant) -> bool {
        match self {
            Self::Empty => false,
            Self::Classic(classic) => classic.expire(member_id, now),
            Self::Consumer(consumer) => consumer.expire(member_id),
        }
    }

    /// Kafka's name of the state.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Classic(classic) => classic.state(),
            Self::Consumer(consumer) => consumer.state().name(),
        }
    }

    /// Kafka's name of the protocol.
    fn kind(&self) -> &'static str {
        match self {
            Self::Empty | Self::Classic(_) => "classic",
            Self::Consumer(_) => "consumer",
        }
    }

    /// What the group is for, such as `consumer` or `connect`; empty before anybody has joined.
    fn protocol_type(&self) -> &str {
        match self {
            Self::Empty => "",
            Self::Classic(classic) => classic.protocol_type(),
            Self::Consumer(_) => "consumer",
        }
    }
}

/// More groups than this are refused.
const MAX_GROUPS: usize = 10_000;

/// How long a group without members and offsets is remembered, as Kafka's `offsets.retention.check.interval.ms`.
const EMPTY_GROUP_KEPT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_offsets_that_do_not_all_fit_none_is_kept() {
        let groups = Groups::new(2000);
        let offset = |index, metadata| {
            let metadata = "x".repeat(metadata);
            ("orders".to_owned(), index, Committed { offset: 7, leader_epoch: -1, metadata, commit_timestamp: 0 })
        };
        let refused = groups.stage_offsets("group", 1, vec![offset(0, 0), offset(1, 2000)]);
        assert_eq!(refused, Err(ResponseError::InvalidCommitOffsetSize));
        assert_eq!((groups.budget.used(), groups.list().len(), groups.lock().staged.len()), (0, 0, 0));

        assert_eq!(groups.stage_offsets("group", 1, vec![offset(0, 0)]), Ok(()));
        let more = groups.stage_offsets("group", 1, vec![offset(0, 1), offset(1, 1), offset(2, 2000)]);
        assert_eq!(more, Err(ResponseError::InvalidCommitOffsetSize));
        groups.end_transaction(1, true);
        let state = groups.lock();
        let kept: Vec<_> =
            state.by_id["group"].offsets.all().map(|(_, index, it)| (index, it.metadata.len())).collect();
        assert_eq!(kept, [(0, 0)], "what was staged before");
    }
}
