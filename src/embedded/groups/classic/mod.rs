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

mod member;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

use self::member::Member;
pub(in crate::embedded) use self::member::{Described, Join, JoinReply, Joined, Refused, SyncReply, Synced};
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
            self.without_members(now);
        }
        left
    }

    /// Removes a member as if its session had ended. Returns whether it was there.
    pub(in crate::embedded) fn expire(&mut self, member_id: &str, now: Instant) -> bool {
        let known = self.members.contains_key(member_id) || self.pending.contains_key(member_id);
        if known {
            self.remove(member_id);
            self.without_members(now);
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
        for member_id in &gone {
            self.remove(member_id);
        }
        if !gone.is_empty() {
            self.without_members(now);
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

/// Joining.
impl Classic {
    fn has_room_for(&self, member_id: &str) -> bool {
        let known = self.members.contains_key(member_id) || self.pending.contains_key(member_id);
        let taken = match self.state {
            // Whoever comes first has the places; members that do not come back lose theirs.
            State::Preparing { .. } => self.members.values().filter(|member| member.joining.is_some()).count(),
            _ => self.members.len(),
        };
        known || taken + self.pending.len() < self.limits.max_size
    }

    fn join_unknown(&mut self, join: Join, now: Instant, reply: JoinReply) {
        if !self.supports(&join) {
            return refuse(reply, ResponseError::InconsistentGroupProtocol, "");
        }
        let prefix = join.group_instance_id.as_ref().unwrap_or(&join.client_id);
        let member_id =
            format!("{prefix}-{}", uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid());
        let present = join.group_instance_id.as_ref().and_then(|instance| self.statics.get(instance)).cloned();
        match present {
            Some(present) => self.replace_static(&present, member_id, join, now, reply),
            None if join.needs_member_id && join.group_instance_id.is_none() => {
                match self.budget.take(member_id.len()) {
                    Ok(_charge) => {
                        let pending = Pending { expires: now + join.session_timeout, _charge };
                        self.pending.insert(member_id.clone(), pending);
                        refuse(reply, ResponseError::MemberIdRequired, &member_id);
                    }
                    Err(error) => refuse(reply, error, ""),
                }
            }
            None => self.add(member_id, join, now, reply),
        }
    }

    fn join_known(&mut self, join: Join, now: Instant, reply: JoinReply) {
        let member_id = join.member_id.clone();
        if !self.supports(&join) {
            return refuse(reply, ResponseError::InconsistentGroupProtocol, &member_id);
        }
        if self.pending.contains_key(&member_id) && join.group_instance_id.is_none() {
            return self.add(member_id, join, now, reply);
        }
        let sender = Membership {
            member_id: member_id.clone(),
            generation_or_epoch: -1,
            group_instance_id: join.group_instance_id.clone(),
        };
        if let Err(error) = self.check_member(&sender) {
            return refuse(reply, error, &member_id);
        }
        let same = self.members.get(&member_id).is_some_and(|member| member.matches(&join));
        let leads = self.leader.as_ref() == Some(&member_id);
        match self.state {
            State::Empty => refuse(reply, ResponseError::UnknownMemberId, &member_id),
            // It has missed its answer, most likely: nothing has changed, it gets the same again. A leader that joins a
            // stable group wants a rebalance.
            State::Completing(_) if same => self.repeat(&member_id, reply),
            State::Stable(_) if same && !leads => self.repeat(&member_id, reply),
            _ => self.update(&member_id, &join, now, reply),
        }
    }

    /// Whether the member's kind fits the group's, and it has an assignor that all others have too.
    fn supports(&self, join: &Join) -> bool {
        if self.members.is_empty() {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        let common = |name: &String| self.members.values().all(|member| member.supports(name));
        self.protocol_type.as_ref() == Some(&join.protocol_type) && join.protocols.iter().any(|(name, _)| common(name))
    }

    fn add(&mut self, member_id: String, join: Join, now: Instant, reply: JoinReply) {
        let protocol_type = join.protocol_type.clone();
        let mut member = match Member::new(join, &self.budget, now) {
            Ok(member) => member,
            Err(error) => return refuse(reply, error, ""),
        };
        member.joining = Some(reply);
        self.pending.remove(&member_id);
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type);
        }
        if let State::Preparing { initial: Some(initial), .. } = &mut self.state {
            initial.grew = true;
        }
        if let Some(instance) = &member.group_instance_id {
            self.statics.insert(instance.clone(), member_id.clone());
        }
        self.leader.get_or_insert_with(|| member_id.clone());
        self.members.insert(member_id, member);
        self.rebalance(now);
    }

    /// Takes a known member's new metadata, and rebalances.
    fn update(&mut self, member_id: &str, join: &Join, now: Instant, reply: JoinReply) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Err(error) = member.update(join, &self.budget) {
            return refuse(reply, error, member_id);
        }
        member.joining = Some(reply);
        self.rebalance(now);
    }

    /// Puts a static member that has lost its id into its old place (KIP-345). Whoever used that id is fenced.
    fn replace_static(&mut self, old: &str, member_id: String, join: Join, now: Instant, reply: JoinReply) {
        let Some(mut member) = self.members.remove(old) else { return };
        let refused = Refused { error: ResponseError::FencedInstanceId, member_id: old.to_owned() };
        member.answer_join(Err(refused));
        member.answer_sync(Err(ResponseError::FencedInstanceId));
        let former_leader = self.leader.clone().unwrap_or_default();
        if former_leader == old {
            self.leader = Some(member_id.clone());
        }
        if let Some(instance) = &join.group_instance_id {
            self.statics.insert(instance.clone(), member_id.clone());
        }
        if let State::Completing(unsynced) | State::Stable(unsynced) = &mut self.state {
            unsynced.members.remove(old);
        }
        let updated = member.update(&join, &self.budget);
        member.touch(now);
        member.is_new = false;
        self.members.insert(member_id.clone(), member);
        if let Err(error) = updated {
            return refuse(reply, error, &member_id);
        }
        if matches!(self.state, State::Stable(_)) && self.protocol_name == self.elect_protocol() {
            let leads = self.leader.as_ref() == Some(&member_id);
            let mut joined = self.joined(&member_id, leads && join.can_skip_assignment);
            joined.skip_assignment = leads && join.can_skip_assignment;
            if !join.can_skip_assignment {
                // Told the former leader, an older client does not take itself for it, and assigns nothing.
                joined.leader = former_leader;
            }
            let _ = reply.send(Ok(joined));
            return;
        }
        if let Some(member) = self.members.get_mut(&member_id) {
            member.joining = Some(reply);
        }
        self.rebalance(now);
    }

    /// Answers with the generation that is.
    fn repeat(&mut self, member_id: &str, reply: JoinReply) {
        let leads = self.leader.as_deref() == Some(member_id);
        let _ = reply.send(Ok(self.joined(member_id, leads)));
    }

    fn joined(&self, member_id: &str, with_members: bool) -> Joined {
        let protocol_name = self.protocol_name.clone().unwrap_or_default();
        let tell = |(id, member): (&String, &Member)| {
            (id.clone(), member.group_instance_id.clone(), member.metadata(&protocol_name))
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            members: if with_members { self.members.iter().map(tell).collect() } else { Vec::new() },
            skip_assignment: false,
            protocol_name,
        }
    }
}

/// Rebalancing.
impl Classic {
    /// Begins a rebalance, or goes on with the one under way.
    fn rebalance(&mut self, now: Instant) {
        match &self.state {
            State::Preparing { initial: None, .. } if self.all_joined() => self.complete_join(now),
            State::Preparing { .. } => {}
            _ => self.prepare(now),
        }
    }

    /// Goes on after members have gone.
    fn without_members(&mut self, now: Instant) {
        match &self.state {
            State::Empty => {}
            State::Preparing { .. } if self.all_joined() => self.complete_join(now),
            State::Preparing { .. } => {}
            _ => self.prepare(now),
        }
    }

    fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// Asks all members to join again.
    fn prepare(&mut self, now: Instant) {
        if matches!(self.state, State::Completing(_)) {
            for member in self.members.values_mut() {
                member.assign(Bytes::new(), None);
                if member.answer_sync(Err(ResponseError::RebalanceInProgress)) {
                    member.touch(now);
                }
            }
        }
        let timeout = self.rebalance_timeout();
        if matches!(self.state, State::Empty) {
            let delay = self.limits.initial_rebalance_delay;
            let initial = Some(Initial { remaining: timeout.saturating_sub(delay), grew: false });
            self.state = State::Preparing { until: now + delay, initial };
            if delay.is_zero() {
                self.complete_join(now);
            }
            return;
        }
        self.state = State::Preparing { until: now + timeout, initial: None };
        if self.all_joined() {
            self.complete_join(now);
        }
    }

    /// Begins a new generation with those who have joined; others are out, unless they are static members.
    fn complete_join(&mut self, now: Instant) {
        let absent = |member: &Member| member.joining.is_none() && member.group_instance_id.is_none();
        let absent: Vec<_> =
            self.members.iter().filter(|(_, member)| absent(member)).map(|(id, _)| id.clone()).collect();
        for member_id in absent {
            self.remove(&member_id);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            // Static members alone, and none of them is back: they have until their sessions end.
            self.state = State::Preparing { until: now + self.rebalance_timeout(), initial: None };
            return;
        }
        self.generation = self.generation.saturating_add(1);
        self.protocol_name = self.elect_protocol();
        self.subscribed = self.subscriptions();
        if self.members.is_empty() {
            self.state = State::Empty;
            return;
        }
        let members = self.members.keys().cloned().collect();
        self.state = State::Completing(Unsynced { members, until: now + self.rebalance_timeout() });
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for member_id in ids {
            let joined = self.joined(&member_id, self.leader.as_ref() == Some(&member_id));
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
                member.touch(now);
                member.answer_join(Ok(joined));
            }
        }
    }

    /// Finds a leader among those who have joined, the present one if it has.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let Some(first) = self.members.keys().find(|id| joined(id)).cloned() else { return false };
            self.leader = Some(first);
        }
        true
    }

    /// The assignor that all have and most prefer; of equals the first by name. `None` without members.
    fn elect_protocol(&self) -> Option<String> {
        let common = |name: &&str| self.members.values().all(|member| member.supports(name));
        let mut votes = BTreeMap::<&str, usize>::new();
        for vote in self.members.values().filter_map(|member| member.protocols().find(common)) {
            *votes.entry(vote).or_default() += 1;
        }
        votes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned())
    }

    /// The topics that members read; `None` where nobody can tell.
    fn subscriptions(&self) -> Option<BTreeSet<String>> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(member::subscription(member.metadata(protocol))?);
        }
        Some(topics).filter(|_| self.protocol_type() == CONSUMER)
    }

    /// Takes the leader's assignments. Who is not in them has nothing to read.
    fn assign(&mut self, assignments: Vec<(String, Bytes)>) -> Result<(), ResponseError> {
        let mut by_member: BTreeMap<_, _> = assignments.into_iter().collect();
        let mut charged = Vec::new();
        for member_id in self.members.keys() {
            let assignment = by_member.remove(member_id).unwrap_or_default();
            charged.push((Bytes::copy_from_slice(&assignment), self.budget.take(assignment.len())?));
        }
        for (member, (assignment, charge)) in self.members.values_mut().zip(charged) {
            member.assign(assignment, Some(charge));
        }
        Ok(())
    }

    /// Answers everybody who waits for an assignment.
    fn stabilize(&mut self, now: Instant) {
        if let State::Completing(unsynced) = std::mem::replace(&mut self.state, State::Empty) {
            self.state = State::Stable(unsynced);
        }
        let synced = self.synced(Bytes::new());
        for member in self.members.values_mut() {
            if member.answer_sync(Ok(Synced { assignment: member.assignment(), ..synced.clone() })) {
                member.touch(now);
            }
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_name: self.protocol_name.clone().unwrap_or_default(),
            assignment,
        }
    }

    /// The longest time that any member wants to have for joining again.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
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

    fn let_go(&mut self, member_id: &str, instance: Option<&String>) -> Result<(), ResponseError> {
        if member_id.is_empty() {
            // An admin's word: it knows the instance, not the member.
            let present = instance.and_then(|instance| self.statics.get(instance)).cloned();
            self.remove(&present.ok_or(ResponseError::UnknownMemberId)?);
            return Ok(());
        }
        if !self.pending.contains_key(member_id) {
            let sender = Membership {
                member_id: member_id.to_owned(),
                generation_or_epoch: -1,
                group_instance_id: instance.cloned(),
            };
            self.check_member(&sender)?;
        }
        self.remove(member_id);
        Ok(())
    }

    /// Forgets a member or a pending one. Whatever it waits for, it is to join anew.
    fn remove(&mut self, member_id: &str) {
        self.pending.remove(member_id);
        if let State::Completing(unsynced) | State::Stable(unsynced) = &mut self.state {
            unsynced.members.remove(member_id);
        }
        let Some(mut member) = self.members.remove(member_id) else { return };
        member.answer_join(Err(Refused { error: ResponseError::UnknownMemberId, member_id: String::new() }));
        member.answer_sync(Err(ResponseError::UnknownMemberId));
        if let Some(instance) = &member.group_instance_id {
            self.statics.remove(instance);
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
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

fn refuse(reply: JoinReply, error: ResponseError, member_id: &str) {
    let _ = reply.send(Err(Refused { error, member_id: member_id.to_owned() }));
}

/// The protocol type of consumers, whose metadata can be understood.
const CONSUMER: &str = "consumer";
