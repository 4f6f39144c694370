//! The classic group protocol: members join, the leader assigns, everybody reads until somebody comes or goes.
//!
//! ```text
//!            first member               all joined, or time is up               leader has synced
//!   Empty ────────────────▶ Preparing ─────────────────────────▶ Completing ─────────────────────▶ Stable
//!     ▲                       │  ▲  ▲                                 │                              │
//!     └───────────────────────┘  │  └─────────────────────────────────┘ somebody comes, goes, fails  │
//!       nobody is left           └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Kafka has a fifth state, Dead, for groups that are forgotten while somebody still holds them; that cannot happen
//! here, as nobody holds one without the lock of all.
//!
//! Rules this file keeps:
//! - it decides alone: time is an argument, answers go into channels, nothing is awaited;
//! - it decides as Kafka's coordinator does, and the order of its checks is Kafka's: clients depend on which error comes;
//! - an answer that nobody waits for any more is dropped; the member is found dead by its session.

mod join;
mod member;
mod rebalance;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

pub(in crate::embedded) use self::member::{Described, Join, JoinReply, Joined, Refused, SyncReply, Synced};
use self::{join::refuse, member::Member};
use super::{
    Commit, Membership,
    budget::{Budget, Charge},
};

/// A group of the classic protocol.
#[derive(Debug)]
pub(in crate::embedded) struct Classic {
    limits: Limits,
    budget: Budget,
    state: State,
    generation: i32,
    protocol_type: Option<String>,
    protocol_name: Option<String>,
    /// The topics that any member reads, as far as their metadata can be understood.
    subscribed: Option<BTreeSet<String>>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Member ids that were given out and not used yet (KIP-394).
    pending: BTreeMap<String, Pending>,
    /// By group instance id: the member id (KIP-345).
    statics: BTreeMap<String, String>,
}

/// What a group may be like.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Limits {
    pub(in crate::embedded) max_size: usize,
    pub(in crate::embedded) initial_rebalance_delay: Duration,
}

#[derive(Debug)]
enum State {
    /// Nobody is in the group. Its offsets and its generation stay.
    Empty,
    /// Members are to join again.
    Preparing {
        until: Instant,
        /// In the first rebalance of an empty group: there is nobody to wait for, but there may be others to come.
        initial: Option<Initial>,
    },
    /// All have joined, the leader assigns.
    Completing(Unsynced),
    /// All can read.
    Stable(Unsynced),
}

#[derive(Debug)]
struct Initial {
    /// How much longer the group may wait altogether.
    remaining: Duration,
    /// Whether somebody came since the last look.
    grew: bool,
}

/// Who has not asked for its assignment yet, and until when it must have.
#[derive(Debug)]
struct Unsynced {
    members: BTreeSet<String>,
    until: Instant,
}

#[derive(Debug)]
struct Pending {
    expires: Instant,
    _charge: Charge,
}

/// What SyncGroup says.
#[derive(Debug, Clone, Default)]
pub(in crate::embedded) struct Sync {
    pub(in crate::embedded) sender: Membership,
    /// KIP-559; `None` in older versions.
    pub(in crate::embedded) protocol_type: Option<String>,
    pub(in crate::embedded) protocol_name: Option<String>,
    /// By the leader: what each member is to read.
    pub(in crate::embedded) assignments: Vec<(String, Bytes)>,
}

impl Classic {
    pub(in crate::embedded) fn new(limits: Limits, budget: Budget) -> Self {
        Self {
            limits,
            budget,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            subscribed: None,
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            statics: BTreeMap::new(),
        }
    }

    /// Takes a member in, at once or when the others have joined as well.
    pub(in crate::embedded) fn join(&mut self, join: Join, now: Instant, reply: JoinReply) {
        if !self.has_room_for(&join.member_id) {
            refuse(reply, ResponseError::GroupMaxSizeReached, "");
        } else if join.member_id.is_empty() {
            self.join_unknown(join, now, reply);
        } else {
            self.join_known(join, now, reply);
        }
    }

    /// Gives a member its assignment, at once or when the leader has brought it.
    pub(in crate::embedded) fn sync(&mut self, sync: Sync, now: Instant, reply: SyncReply) {
        let member_id = sync.sender.member_id.clone();
        if let Err(error) = self.check_sync(&sync) {
            let _ = reply.send(Err(error));
            return;
        }
        match &mut self.state {
            State::Empty | State::Preparing { .. } => {}
            State::Completing(unsynced) => {
                unsynced.members.remove(&member_id);
                if self.leader.as_ref() == Some(&member_id)
                    && let Err(error) = self.assign(sync.assignments)
                {
                    let _ = reply.send(Err(error));
                    return;
                }
                if let Some(member) = self.members.get_mut(&member_id) {
                    member.syncing = Some(reply);
                }
                if self.leader.as_ref() == Some(&member_id) {
                    self.stabilize(now);
                }
            }
            State::Stable(unsynced) => {
                unsynced.members.remove(&member_id);
                let Some(member) = self.members.get_mut(&member_id) else { return };
                member.touch(now);
                let assignment = member.assignment();
                let _ = reply.send(Ok(self.synced(assignment)));
            }
        }
    }

    /// Notes that a member lives.
    ///
    /// # Errors
    /// What Heartbeat is to answer; REBALANCE_IN_PROGRESS if it lives but is to join again.
    pub(in crate::embedded) fn heartbeat(&mut self, sender: &Membership, now: Instant) -> Result<(), ResponseError> {
        self.check_member(sender)?;
        self.check_generation(sender)?;
        self.touch(&sender.member_id, now);
        match self.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            State::Completing(_) | State::Stable(_) => Ok(()),
        }
    }

    /// Lets members go, each by its id or by its group instance id alone. The others rebalance.
    pub(in crate::embedded) fn leave(
        &mut self,
        leaving: &[(String, Option<String>)],
        now: Instant,
    ) -> Vec<Result<(), ResponseError>> {
        let left: Vec<_> = leaving.iter().map(|(id, instance)| self.let_go(id, instance.as_ref())).collect();
        if left.iter().any(Result::is_ok) {
            self.go_on_without(left.contains(&Ok(true)), now);
        }
        left.into_iter().map(|left| left.map(|_| ())).collect()
    }

    /// Removes a member as if its session had ended. Returns whether it was there.
    pub(in crate::embedded) fn expire(&mut self, member_id: &str, now: Instant) -> bool {
        let known = self.members.contains_key(member_id) || self.pending.contains_key(member_id);
        if known {
            let member = self.remove(member_id);
            self.go_on_without(member, now);
        }
        known
    }

    /// When [`Classic::handle_timeout`] is to be called next.
    pub(in crate::embedded) fn deadline(&self) -> Option<Instant> {
        let phase = match &self.state {
            State::Preparing { until, .. } => Some(*until),
            State::Completing(unsynced) | State::Stable(unsynced) => unsynced.deadline(),
            State::Empty => None,
        };
        let sessions = self.members.values().filter_map(Member::deadline);
        sessions.chain(self.pending.values().map(|pending| pending.expires)).chain(phase).min()
    }

    /// Does what is due: sessions that end, and phases of a rebalance that have taken long enough.
    pub(in crate::embedded) fn handle_timeout(&mut self, now: Instant) {
        let over = |member: &Member| member.deadline().is_some_and(|deadline| deadline <= now);
        let mut gone: Vec<_> =
            self.pending.iter().filter(|(_, it)| it.expires <= now).map(|(id, _)| id.clone()).collect();
        gone.extend(self.members.iter().filter(|(_, member)| over(member)).map(|(id, _)| id.clone()));
        let members = gone.iter().filter(|member_id| self.remove(member_id)).count();
        if !gone.is_empty() {
            self.go_on_without(members > 0, now);
        }
        match &mut self.state {
            State::Preparing { until, initial } if *until <= now => match initial {
                Some(Initial { remaining, grew: grew @ true }) if !remaining.is_zero() => {
                    *grew = false;
                    *until = now + self.limits.initial_rebalance_delay.min(*remaining);
                    *remaining = remaining.saturating_sub(self.limits.initial_rebalance_delay);
                }
                _ => self.complete_join(now),
            },
            State::Completing(unsynced) | State::Stable(unsynced) if unsynced.is_due(now) => {
                for member_id in std::mem::take(&mut unsynced.members) {
                    self.remove(&member_id);
                }
                self.prepare(now);
            }
            _ => {}
        }
    }

    /// Whether this sender may commit offsets.
    ///
    /// # Errors
    /// What OffsetCommit or TxnOffsetCommit is to answer.
    pub(in crate::embedded) fn check_commit(&self, sender: &Membership, commit: Commit) -> Result<(), ResponseError> {
        let plain = commit != Commit::Transactional;
        let empty = matches!(self.state, State::Empty);
        if sender.generation_or_epoch < 0 && empty {
            return Ok(());
        }
        let introduced =
            sender.generation_or_epoch >= 0 || !sender.member_id.is_empty() || sender.group_instance_id.is_some();
        if introduced {
            self.check_member(sender)?;
            self.check_generation(sender)?;
        } else if plain && !empty {
            // Older transactional producers do not say who they are (before KIP-447).
            return Err(ResponseError::UnknownMemberId);
        }
        match self.state {
            State::Completing(_) if plain => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Notes that a member lives, if it is one.
    pub(in crate::embedded) fn touch(&mut self, member_id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(member_id)
            && !member.is_new
        {
            member.touch(now);
        }
    }

    /// Whether nobody is in the group. Somebody may be about to come.
    pub(in crate::embedded) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Kafka's name of the state.
    pub(in crate::embedded) fn state(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::Preparing { .. } => "PreparingRebalance",
            State::Completing(_) => "CompletingRebalance",
            State::Stable(_) => "Stable",
        }
    }

    /// What the group is for, such as `consumer` or `connect`; empty before anybody has joined.
    pub(in crate::embedded) fn protocol_type(&self) -> &str {
        self.protocol_type.as_deref().unwrap_or_default()
    }

    /// The assignor that was agreed on, while the group is stable.
    pub(in crate::embedded) fn protocol_name(&self) -> &str {
        self.protocol_name.as_deref().filter(|_| matches!(self.state, State::Stable(_))).unwrap_or_default()
    }

    pub(in crate::embedded) fn generation(&self) -> i32 {
        self.generation
    }

    /// All members; metadata and assignments only while the group is stable.
    pub(in crate::embedded) fn describe(&self) -> Vec<Described> {
        let stable = self.protocol_name.as_deref().filter(|_| matches!(self.state, State::Stable(_)));
        let describe = |(id, member): (&String, &Member)| match stable {
            Some(protocol) => Described {
                metadata: member.metadata(protocol),
                assignment: member.assignment(),
                ..member.describe(id)
            },
            None => member.describe(id),
        };
        self.members.iter().map(describe).collect()
    }

    /// Whether offsets of single partitions may be deleted at all.
    pub(in crate::embedded) fn check_delete_offsets(&self) -> Result<(), ResponseError> {
        match self.state {
            State::Empty => Ok(()),
            _ if self.protocol_type() == CONSUMER => Ok(()),
            _ => Err(ResponseError::NonEmptyGroup),
        }
    }

    /// Whether a member reads this topic, as far as can be told.
    pub(in crate::embedded) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().is_some_and(|topics| topics.contains(topic))
    }
}

/// Who is in the group.
impl Classic {
    fn check_member(&self, sender: &Membership) -> Result<(), ResponseError> {
        if let Some(instance) = &sender.group_instance_id {
            match self.statics.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(member_id) if *member_id != sender.member_id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        let known = self.members.contains_key(&sender.member_id);
        if known { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    fn check_generation(&self, sender: &Membership) -> Result<(), ResponseError> {
        let current = sender.generation_or_epoch == self.generation;
        if current { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ResponseError> {
        self.check_member(&sync.sender)?;
        self.check_generation(&sync.sender)?;
        let differs = |told: &Option<String>, known: &Option<String>| told.is_some() && told != known;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol_name, &self.protocol_name) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            State::Completing(_) | State::Stable(_) => Ok(()),
        }
    }

    /// Removes who wants to leave. Returns whether that was a member, and no id that nobody has joined with.
    fn let_go(&mut self, member_id: &str, instance: Option<&String>) -> Result<bool, ResponseError> {
        if member_id.is_empty() {
            // An admin's word: it knows the instance, not the member.
            let present = instance.and_then(|instance| self.statics.get(instance)).cloned();
            return Ok(self.remove(&present.ok_or(ResponseError::UnknownMemberId)?));
        }
        if !self.pending.contains_key(member_id) {
            let sender = Membership {
                member_id: member_id.to_owned(),
                generation_or_epoch: -1,
                group_instance_id: instance.cloned(),
            };
            self.check_member(&sender)?;
        }
        Ok(self.remove(member_id))
    }

    /// Forgets a member or a pending one. Whatever it waits for, it is to join anew. Returns whether it was a member.
    fn remove(&mut self, member_id: &str) -> bool {
        self.pending.remove(member_id);
        if let State::Completing(unsynced) | State::Stable(unsynced) = &mut self.state {
            unsynced.members.remove(member_id);
        }
        let Some(mut member) = self.members.remove(member_id) else { return false };
        member.answer_join(Err(Refused { error: ResponseError::UnknownMemberId, member_id: String::new() }));
        member.answer_sync(Err(ResponseError::UnknownMemberId));
        if let Some(instance) = &member.group_instance_id {
            self.statics.remove(instance);
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        true
    }
}

impl Unsynced {
    fn deadline(&self) -> Option<Instant> {
        Some(self.until).filter(|_| !self.members.is_empty())
    }

    fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
}

/// The protocol type of consumers, whose metadata can be understood.
const CONSUMER: &str = "consumer";
