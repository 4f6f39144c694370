//! A consumer group of the protocol of KIP-848: its members, its epochs, and who owns which partition.
//!
//! A heartbeat may change the group's epoch (somebody came, subscribes anew, or topics changed), then the target
//! assignment of that epoch, and then takes the member one step nearer to its target:
//!
//! ```text
//!   consumer   group epoch, target, fencing, sessions         assignor   who is to own what
//!   member     a member's own way to its target               pattern    subscriptions by regular expression
//!   heartbeat  what members say and are told
//! ```
//!
//! Rules this module keeps:
//! - it decides and does nothing else: time, limits and topics are arguments, and every heartbeat is answered at once;
//! - a request that is refused has changed nothing;
//! - a partition has one owner until that one has let go of it or is fenced.
//!
//! Members of the classic protocol are not taken over (Kafka's `group.consumer.migration.policy=disabled`). Share
//! groups (KIP-932) would stand beside this module as `share.rs` with an assignor of their own: their heartbeat has the
//! same epochs, sessions and patterns but no revocation, as a partition may have several owners.

mod assignor;
mod heartbeat;
mod member;
mod pattern;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::time::Instant;
use uuid::Uuid;

pub(in crate::embedded) use self::{
    assignor::Assignment,
    heartbeat::{Answer, Heartbeat, Refusal},
    member::{LEFT_FOR_NOW, Member},
};
use self::{
    assignor::{Assignor, Candidate, Sizes},
    heartbeat::JOINS,
    member::{Progress, Target, is_within},
    pattern::{MAX_COMPILED_BYTES, Pattern},
};
use super::{Budget, Charge, Commit, Membership};

/// The topics of the cluster, as a group sees them.
pub(in crate::embedded) trait Catalog {
    /// Id and number of partitions of a topic.
    fn topic(&self, name: &str) -> Option<(Uuid, i32)>;

    /// The names of all topics.
    fn names(&self) -> BTreeSet<String>;
}

/// What a coordinator allows a consumer group.
#[derive(Debug, Clone)]
pub(in crate::embedded) struct Limits {
    /// A member that is silent for so long is removed.
    pub(in crate::embedded) session_timeout: Duration,
    /// How often members are told to come.
    pub(in crate::embedded) heartbeat_interval: Duration,
    /// The most members of a group.
    pub(in crate::embedded) max_members: usize,
}

/// A group's state as tools show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::embedded) enum State {
    Empty,
    /// The epoch has moved on and the next heartbeat makes a new target.
    Assigning,
    /// Somebody is on its way to the target.
    Reconciling,
    Stable,
}

impl State {
    pub(in crate::embedded) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// A consumer group.
#[derive(Debug)]
pub(in crate::embedded) struct Consumer {
    budget: Budget,
    /// For all that is kept as of `charged_epoch`.
    charge: Option<Charge>,
    charged_epoch: i32,
    /// Grows whenever the target may have to change.
    epoch: i32,
    /// The epoch for which `targets` was made.
    assignment_epoch: i32,
    members: BTreeMap<String, Member>,
    /// The members' ids by their instance ids (KIP-345).
    instances: BTreeMap<String, String>,
    /// What each member is to own.
    targets: BTreeMap<String, Assignment>,
    /// Which member holds a partition.
    holders: BTreeMap<(Uuid, i32), String>,
    /// The subscribed topics that the epoch was made for.
    topics: BTreeMap<String, (Uuid, i32)>,
    patterns: BTreeMap<String, Pattern>,
    /// The names that the patterns have been matched with.
    matched: BTreeSet<String>,
}

impl Consumer {
    /// A group without members.
    pub(in crate::embedded) fn new(budget: Budget) -> Self {
        Self {
            budget,
            charge: None,
            charged_epoch: 0,
            epoch: 0,
            assignment_epoch: 0,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            targets: BTreeMap::new(),
            holders: BTreeMap::new(),
            topics: BTreeMap::new(),
            patterns: BTreeMap::new(),
            matched: BTreeSet::new(),
        }
    }

    /// Serves a heartbeat that [`Heartbeat::validate`] has let through, with its member id filled in.
    ///
    /// # Errors
    /// FENCED_MEMBER_EPOCH, UNKNOWN_MEMBER_ID, UNRELEASED_INSTANCE_ID, FENCED_INSTANCE_ID, GROUP_MAX_SIZE_REACHED or
    /// INVALID_REGULAR_EXPRESSION; nothing has changed then. If there is no memory for what the member brings, it is
    /// removed with GROUP_MAX_SIZE_REACHED.
    pub(in crate::embedded) fn heartbeat(
        &mut self,
        heartbeat: Heartbeat,
        catalog: &impl Catalog,
        limits: &Limits,
        now: Instant,
    ) -> Result<Answer, Refusal> {
        if heartbeat.member_epoch < 0 {
            return self.leave(&heartbeat);
        }
        let (mut member, predecessor) = self.admit(&heartbeat, limits, now)?;
        let full = heartbeat.is_full();
        let owned = heartbeat.owned.clone();
        let known = self.members.contains_key(&member.id) || predecessor.is_some();
        let resubscribed = member.update(heartbeat);
        self.learn_pattern(&member)?;
        member.session_ends = now + limits.session_timeout;
        // Refused or not is decided: from here on the group changes.
        self.replace(predecessor, &member);
        let id = member.id.clone();
        let before = member.assigned.clone();
        self.members.insert(id.clone(), member);
        self.refresh(resubscribed || (!known && self.epoch == 0), catalog);
        self.charge(&id)?;
        self.retarget();
        self.reconcile(&id, owned.as_ref(), now);
        let Some(member) = self.members.get(&id) else {
            return Err(Refusal::new(ResponseError::UnknownServerError, "the member vanished"));
        };
        let assignment = (full || member.assigned != before).then(|| member.assigned.clone());
        Ok(Answer { member_id: id, member_epoch: member.epoch, assignment })
    }

    /// Removes everybody whose time is up, and says who.
    pub(in crate::embedded) fn handle_timeout(&mut self, now: Instant) -> Vec<String> {
        let late = |member: &&Member| member.deadline() <= now;
        let late: Vec<String> = self.members.values().filter(late).map(|member| member.id.clone()).collect();
        for id in &late {
            self.fence(id);
        }
        late
    }

    /// When [`Consumer::handle_timeout`] has something to do.
    pub(in crate::embedded) fn next_deadline(&self) -> Option<Instant> {
        self.members.values().map(Member::deadline).min()
    }

    /// Whether offsets may be committed in the name of a member. A member id is not asked for while the group is empty:
    /// that is a tool, or a consumer that assigns to itself.
    ///
    /// Kafka 4.3 also lets a member commit in an older epoch for what it was assigned by then (KIP-1251); here, as
    /// before 4.3, it must be the member's epoch.
    pub(in crate::embedded) fn check_commit(&self, member_id: &str, member_epoch: i32) -> Result<(), ResponseError> {
        if member_epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check_epoch(member_id, member_epoch)
    }

    /// Whether offsets may be fetched in the name of a member, or in nobody's.
    pub(in crate::embedded) fn check_fetch(
        &self,
        member_id: Option<&str>,
        member_epoch: i32,
    ) -> Result<(), ResponseError> {
        match member_id {
            None if member_epoch < 0 => Ok(()),
            id => self.check_epoch(id.unwrap_or_default(), member_epoch),
        }
    }

    fn check_epoch(&self, member_id: &str, member_epoch: i32) -> Result<(), ResponseError> {
        let member = self.members.get(member_id).ok_or(ResponseError::UnknownMemberId)?;
        if member.epoch == member_epoch { Ok(()) } else { Err(ResponseError::StaleMemberEpoch) }
    }

    /// The same for any kind of commit.
    pub(in crate::embedded) fn check_sender(&self, sender: &Membership, commit: Commit) -> Result<(), ResponseError> {
        let Membership { member_id, generation_or_epoch: epoch, group_instance_id } = sender;
        let anonymous = member_id.is_empty() && *epoch == -1 && group_instance_id.is_none();
        match commit {
            // A transaction need not say which consumer it is of (KIP-447 made that possible, not necessary).
            Commit::Transactional if anonymous => Ok(()),
            Commit::Plain(..9) if self.members.contains_key(member_id) => Err(ResponseError::UnsupportedVersion),
            _ => self.check_commit(member_id, *epoch),
        }
    }

    /// Lets members go by LeaveGroup, as administrators do: each by its id, or by its group instance id alone.
    pub(in crate::embedded) fn remove(
        &mut self,
        leaving: &[(String, Option<String>)],
    ) -> Vec<Result<(), ResponseError>> {
        leaving.iter().map(|(id, instance)| self.let_go(id, instance.as_deref())).collect()
    }

    fn let_go(&mut self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        let known = match instance {
            Some(instance) => self.instances.get(instance).map(String::as_str),
            None => self.members.contains_key(id).then_some(id),
        };
        let known = known.ok_or(ResponseError::UnknownMemberId)?.to_owned();
        if !id.is_empty() && known != id {
            return Err(ResponseError::FencedInstanceId);
        }
        self.fence(&known);
        Ok(())
    }

    /// Removes a member as if its session had ended. Returns whether it was there.
    pub(in crate::embedded) fn expire(&mut self, member_id: &str) -> bool {
        let known = self.members.contains_key(member_id);
        self.fence(member_id);
        known
    }

    pub(in crate::embedded) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(in crate::embedded) fn state(&self) -> State {
        match self.members.is_empty() {
            true => State::Empty,
            false if self.epoch > self.assignment_epoch => State::Assigning,
            false if self.members.values().all(|member| member.is_at(self.assignment_epoch)) => State::Stable,
            false => State::Reconciling,
        }
    }

    pub(in crate::embedded) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(in crate::embedded) fn assignment_epoch(&self) -> i32 {
        self.assignment_epoch
    }

    /// The assignor that most members ask for.
    pub(in crate::embedded) fn assignor_name(&self) -> &'static str {
        self.assignor().name()
    }

    /// The subscribed topics that exist, and their ids.
    pub(in crate::embedded) fn topics(&self) -> impl Iterator<Item = (&String, Uuid)> {
        self.topics.iter().map(|(name, (id, _))| (name, *id))
    }

    /// All members, each with what it is to own.
    pub(in crate::embedded) fn members(&self) -> impl Iterator<Item = (&Member, Option<&Assignment>)> {
        self.members.values().map(|member| (member, self.targets.get(&member.id)))
    }

    /// Whether somebody subscribes to this topic: its offsets are not deleted then.
    pub(in crate::embedded) fn subscribes_to(&self, topic: &str) -> bool {
        let matched = |regex: &String| self.patterns.get(regex).is_some_and(|pattern| pattern.topics.contains(topic));
        self.members.values().any(|it| it.topic_names.contains(topic) || it.topic_regex.as_ref().is_some_and(matched))
    }

    /// The member that a heartbeat is of, a copy of it; and the id that a static member had before.
    fn admit(&self, heartbeat: &Heartbeat, limits: &Limits, now: Instant) -> Result<(Member, Option<String>), Refusal> {
        let id = &heartbeat.member_id;
        let known = self.members.get(id);
        if known.is_none() && self.members.len() >= limits.max_members {
            let message = format!("The group has reached its maximum of {} members.", limits.max_members);
            return Err(Refusal::new(ResponseError::GroupMaxSizeReached, message));
        }
        let joins = heartbeat.member_epoch == JOINS;
        let Some(instance_id) = &heartbeat.instance_id else {
            let member = match known {
                None if joins => Member::new(id.clone(), now),
                None => return Err(unknown(format!("Member {id} is not a member of the group."))),
                Some(member) => member.clone(),
            };
            member.check_epoch(heartbeat)?;
            return Ok((member, None));
        };
        let holder = self.instances.get(instance_id).and_then(|id| self.members.get(id));
        match holder {
            None if joins => Ok((known.cloned().unwrap_or_else(|| Member::new(id.clone(), now)), None)),
            None => Err(unknown(format!("Instance id {instance_id} is unknown."))),
            Some(holder) if joins && holder.epoch == LEFT_FOR_NOW => {
                let member = Member { id: id.clone(), epoch: 0, previous_epoch: 0, ..holder.clone() };
                Ok((member, Some(holder.id.clone())))
            }
            // Kafka refuses even the member itself, which is told to leave first.
            Some(holder) if joins => {
                let message = format!("The instance id {instance_id} is owned by member {}.", holder.id);
                Err(Refusal::new(ResponseError::UnreleasedInstanceId, message))
            }
            Some(holder) => {
                holder.check_instance(heartbeat)?;
                holder.check_epoch(heartbeat)?;
                Ok((holder.clone(), None))
            }
        }
    }

    fn leave(&mut self, heartbeat: &Heartbeat) -> Result<Answer, Refusal> {
        let id = match &heartbeat.instance_id {
            None => heartbeat.member_id.clone(),
            Some(instance_id) => {
                let holder = self.instances.get(instance_id).and_then(|id| self.members.get(id));
                let holder = holder.ok_or_else(|| unknown(format!("Instance id {instance_id} is unknown.")))?;
                holder.check_instance(heartbeat)?;
                holder.id.clone()
            }
        };
        let Some(member) = self.members.get_mut(&id) else {
            return Err(unknown(format!("Member {id} is not a member of the group.")));
        };
        if heartbeat.member_epoch == LEFT_FOR_NOW {
            // Keeps all it is to own until its session ends, and holds nothing that it was to give up.
            member.epoch = LEFT_FOR_NOW;
            member.progress = Progress::Stable;
            self.note_holder(&id);
        } else {
            self.fence(&id);
        }
        Ok(Answer { member_id: id, member_epoch: heartbeat.member_epoch, assignment: None })
    }

    /// Removes a member. The group's epoch moves on; the next heartbeat of anybody makes the new target.
    fn fence(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        self.targets.remove(id);
        self.holders.retain(|_, holder| holder != id);
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        self.forget_patterns();
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Puts a static member's new id where its old one was.
    fn replace(&mut self, predecessor: Option<String>, member: &Member) {
        if let Some(old) = predecessor {
            self.members.remove(&old);
            if let Some(target) = self.targets.remove(&old) {
                self.targets.insert(member.id.clone(), target);
            }
            self.holders.values_mut().filter(|holder| **holder == old).for_each(|holder| holder.clone_from(&member.id));
        }
        let Some(instance_id) = &member.instance_id else { return };
        if self.instances.get(instance_id) != Some(&member.id) {
            // A member has one instance id, even if it has changed its mind.
            self.instances.retain(|_, id| *id != member.id);
            self.instances.insert(instance_id.clone(), member.id.clone());
        }
    }

    /// Compiles a member's pattern unless it is known.
    fn learn_pattern(&mut self, member: &Member) -> Result<(), Refusal> {
        let Some(source) = &member.topic_regex else { return Ok(()) };
        if !self.patterns.contains_key(source) {
            let refuse = |why| {
                let message = format!("SubscribedTopicRegex `{source}` is not a valid regular expression: {why}.");
                Refusal::new(ResponseError::InvalidRegularExpression, message)
            };
            self.patterns.insert(source.clone(), Pattern::new(source).map_err(refuse)?);
            // No names have been matched with this one.
            self.matched.clear();
        }
        Ok(())
    }

    fn forget_patterns(&mut self) {
        let used: BTreeSet<&String> = self.members.values().filter_map(|member| member.topic_regex.as_ref()).collect();
        self.patterns.retain(|source, _| used.contains(source));
    }

    /// Looks at the topics again, and moves the epoch on if they differ or `bump` is set.
    fn refresh(&mut self, mut bump: bool, catalog: &impl Catalog) {
        if bump {
            self.forget_patterns();
        }
        if !self.patterns.is_empty() {
            let names = catalog.names();
            if names != self.matched {
                self.patterns.values_mut().for_each(|pattern| pattern.resolve(&names));
                self.matched = names;
            }
        }
        let names: BTreeSet<&String> = self.members.values().flat_map(|member| self.subscription(member)).collect();
        let found = |name: &String| catalog.topic(name).map(|topic| (name.clone(), topic));
        let topics: BTreeMap<String, (Uuid, i32)> = names.into_iter().filter_map(found).collect();
        if topics != self.topics {
            self.topics = topics;
            bump = true;
        }
        self.epoch = self.epoch.saturating_add(i32::from(bump));
    }

    /// All names that a member subscribes to, whether such topics exist or not.
    fn subscription<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a String> {
        let matched = member.topic_regex.as_ref().and_then(|source| self.patterns.get(source));
        member.topic_names.iter().chain(matched.into_iter().flat_map(|pattern| &pattern.topics))
    }

    /// Counts anew what the group keeps, if its epoch has changed; what an epoch keeps does not grow.
    fn charge(&mut self, newest: &str) -> Result<(), Refusal> {
        if self.charged_epoch == self.epoch {
            return Ok(());
        }
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let bytes_of = |it: &Member| {
            let names: usize = it.topic_names.iter().map(|name| name.len() + PER_ENTRY).sum();
            // Its id stands in four places.
            PER_MEMBER + 4 * it.id.len() + it.client_id.len() + text(&it.instance_id) * 2 + text(&it.rack_id) + names
        };
        let members: usize = self.members.values().map(bytes_of).sum();
        let partitions: i32 = self.topics.values().map(|(_, size)| size).sum();
        let names: usize = self.matched.iter().map(|name| name.len() + PER_ENTRY).sum();
        let patterns = (1 + self.patterns.len()) * names + self.patterns.len() * MAX_COMPILED_BYTES;
        self.charge = None;
        // Each partition stands in a target, in what a member owns, and among the holders.
        let bytes = members + patterns + usize::try_from(partitions).unwrap_or(0) * 3 * PER_ENTRY;
        match self.budget.take(bytes) {
            Ok(charge) => {
                self.charge = Some(charge);
                self.charged_epoch = self.epoch;
                Ok(())
            }
            Err(error) => {
                self.fence(newest);
                Err(Refusal::new(error, "There is no memory left for this group."))
            }
        }
    }

    /// Makes the target assignment of the group's epoch.
    fn retarget(&mut self) {
        if self.assignment_epoch >= self.epoch {
            return;
        }
        let nothing = Assignment::new();
        let candidates: Vec<Candidate<'_>> = self
            .members
            .values()
            .map(|member| Candidate {
                member_id: &member.id,
                instance_id: member.instance_id.as_deref(),
                topics: self.subscription(member).filter_map(|name| Some(self.topics.get(name)?.0)).collect(),
                previous: self.targets.get(&member.id).unwrap_or(&nothing),
            })
            .collect();
        let sizes: Sizes = self.topics.values().copied().collect();
        let targets = self.assignor().assign(&candidates, &sizes);
        self.targets = self.members.keys().cloned().zip(targets).collect();
        self.assignment_epoch = self.epoch;
    }

    fn assignor(&self) -> Assignor {
        let votes = |assignor| self.members.values().filter(|member| member.assignor == Some(assignor)).count();
        // Of several with as many votes the last is taken, which is the default.
        Assignor::ALL.into_iter().rev().max_by_key(|assignor| votes(*assignor)).unwrap_or(Assignor::Uniform)
    }

    fn reconcile(&mut self, id: &str, owned: Option<&Assignment>, now: Instant) {
        let nothing = Assignment::new();
        let partitions = self.targets.get(id).unwrap_or(&nothing);
        let target = Target { epoch: self.assignment_epoch, partitions };
        let holders = &self.holders;
        if let Some(member) = self.members.get_mut(id).filter(|member| !member.is_at(target.epoch)) {
            member.reconcile(&target, owned, |topic, partition| !holders.contains_key(&(topic, partition)), now);
            self.note_holder(id);
        }
    }

    /// Writes down anew what a member holds.
    fn note_holder(&mut self, id: &str) {
        self.holders.retain(|_, holder| holder != id);
        let held = self.members.get(id).into_iter().flat_map(Member::holds);
        self.holders.extend(held.map(|partition| (partition, id.to_owned())));
    }
}

impl Member {
    /// Takes over what the member says. Whether it subscribes to something else than before.
    fn update(&mut self, heartbeat: Heartbeat) -> bool {
        let before = (self.topic_names.clone(), self.topic_regex.clone());
        self.client_id = heartbeat.client_id;
        self.client_host = heartbeat.client_host;
        self.instance_id = heartbeat.instance_id.or(self.instance_id.take());
        self.rack_id = heartbeat.rack_id.or(self.rack_id.take());
        self.rebalance_timeout = heartbeat.rebalance_timeout.unwrap_or(self.rebalance_timeout);
        self.assignor = heartbeat.assignor.as_deref().and_then(Assignor::named).or(self.assignor);
        if let Some(names) = heartbeat.topic_names {
            self.topic_names = names;
        }
        if let Some(regex) = heartbeat.topic_regex {
            self.topic_regex = Some(regex).filter(|regex| !regex.is_empty());
        }
        (&self.topic_names, &self.topic_regex) != (&before.0, &before.1)
    }

    fn check_epoch(&self, heartbeat: &Heartbeat) -> Result<(), Refusal> {
        let claimed = heartbeat.member_epoch;
        // The answer with the newer epoch may have been lost: then nothing is owned that has been taken away since.
        let behind = claimed == self.previous_epoch
            && heartbeat.owned.as_ref().is_some_and(|owned| is_within(owned, &self.assigned));
        // Whoever joins again starts from nothing, whatever its epoch was (KAFKA-19233).
        if claimed == self.epoch || claimed == JOINS || (claimed < self.epoch && behind) {
            return Ok(());
        }
        let message = format!("The epoch of member {} is {}, not {claimed}.", self.id, self.epoch);
        Err(Refusal::new(ResponseError::FencedMemberEpoch, message))
    }

    fn check_instance(&self, heartbeat: &Heartbeat) -> Result<(), Refusal> {
        if self.id == heartbeat.member_id {
            return Ok(());
        }
        let message = format!("Member {} was fenced by member {}.", heartbeat.member_id, self.id);
        Err(Refusal::new(ResponseError::FencedInstanceId, message))
    }
}

fn unknown(message: String) -> Refusal {
    Refusal::new(ResponseError::UnknownMemberId, message)
}

/// About what an entry of a map takes, rounded up.
const PER_ENTRY: usize = 64;
const PER_MEMBER: usize = 1024;
