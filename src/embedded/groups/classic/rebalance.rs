//! How a classic group gets from one generation to the next.
//!
//! Rules this file keeps:
//! - a generation begins when all members have joined or the time for it is up; who is late is out, unless it is a
//!   static member, whose session decides;
//! - who has joined must also sync in time, or is out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{
    CONSUMER, Classic, Initial, State, Unsynced,
    member::{self, Member, Synced},
};

impl Classic {
    /// Begins a rebalance, or goes on with the one under way.
    pub(super) fn rebalance(&mut self, now: Instant) {
        match &self.state {
            State::Preparing { initial: None, .. } if self.all_joined() => self.complete_join(now),
            State::Preparing { .. } => {}
            _ => self.prepare(now),
        }
    }

    /// Goes on after somebody has gone. If that was no `member`, but an id that nobody has joined with, it may have been
    /// all that a join waited for; nobody has to join again because of it.
    pub(super) fn go_on_without(&mut self, member: bool, now: Instant) {
        match &self.state {
            State::Preparing { initial: None, .. } if self.all_joined() => self.complete_join(now),
            // The first rebalance has its time, whoever comes and goes.
            State::Empty | State::Preparing { .. } => {}
            State::Completing(_) | State::Stable(_) if member => self.prepare(now),
            State::Completing(_) | State::Stable(_) => {}
        }
    }

    fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// Asks all members to join again.
    pub(super) fn prepare(&mut self, now: Instant) {
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
    pub(super) fn complete_join(&mut self, now: Instant) {
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
    pub(super) fn elect_protocol(&self) -> Option<String> {
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
    pub(super) fn assign(&mut self, assignments: Vec<(String, Bytes)>) -> Result<(), ResponseError> {
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
    pub(super) fn stabilize(&mut self, now: Instant) {
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

    pub(super) fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_name: self.protocol_name.clone().unwrap_or_default(),
            assignment,
        }
    }

    /// The longest time that any member wants to have for joining again.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }
}
