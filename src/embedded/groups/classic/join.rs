//! How somebody becomes a member of a classic group: new, known, or a static member that has lost its id.
//!
//! Rules this file keeps:
//! - every JoinGroup is answered once: here if it is refused or changes nothing, at the end of the rebalance otherwise;
//! - a member that joins with nothing new gets the answer it has missed, and disturbs nobody.

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{
    Classic, Pending, State,
    member::{Join, JoinReply, Joined, Member, Refused},
};
use crate::embedded::groups::Membership;

impl Classic {
    pub(super) fn has_room_for(&self, member_id: &str) -> bool {
        let known = self.members.contains_key(member_id) || self.pending.contains_key(member_id);
        let taken = match self.state {
            // Whoever comes first has the places; members that do not come back lose theirs.
            State::Preparing { .. } => self.members.values().filter(|member| member.joining.is_some()).count(),
            _ => self.members.len(),
        };
        known || taken + self.pending.len() < self.limits.max_size
    }

    pub(super) fn join_unknown(&mut self, join: Join, now: Instant, reply: JoinReply) {
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

    pub(super) fn join_known(&mut self, join: Join, now: Instant, reply: JoinReply) {
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

    pub(super) fn joined(&self, member_id: &str, with_members: bool) -> Joined {
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

pub(super) fn refuse(reply: JoinReply, error: ResponseError, member_id: &str) {
    let _ = reply.send(Err(Refused { error, member_id: member_id.to_owned() }));
}
