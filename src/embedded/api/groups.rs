//! The classic group protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! Rules this file keeps:
//! - it translates; what a group does is decided in `groups/classic`;
//! - an answer may be long in coming; if the client hangs up meanwhile, nothing of its request stays but its member,
//!   whose session ends.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
        LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse, join_group_response::JoinGroupResponseMember,
        leave_group_response::MemberResponse,
    },
    protocol::StrBytes,
};
use tokio::{sync::oneshot, time::Instant};

use super::{Call, Serve};
use crate::embedded::{
    groups::{Classic, Group, Join, Joined, Limits, Members, Membership, Refused, Sync, Synced},
    reply::{Body, Unanswered},
};

impl Serve for JoinGroupRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let member_id = self.member_id.to_string();
        let answer = match call.join(self) {
            // Another JoinGroup of this member has taken the place of this one.
            Ok(waiting) => waiting.await.map_err(|_| Unanswered::HangUp)?,
            Err(error) => Err(Refused { error, member_id }),
        };
        let mut response = match answer {
            Ok(joined) => joined_response(joined),
            Err(Refused { error, member_id }) => JoinGroupResponse::default()
                .with_error_code(error.code())
                .with_member_id(member_id.into())
                .with_protocol_name(Some(StrBytes::default())),
        };
        if call.version >= 2 {
            response.throttle_time_ms = call.throttle_ms();
        }
        if call.version < 9 {
            response.skip_assignment = false;
        }
        if call.version < 5 {
            response.members.iter_mut().for_each(|member| member.group_instance_id = None);
        }
        call.encode(&response)
    }
}

fn joined_response(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(member_id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(member_id.into())
            .with_group_instance_id(instance.map(Into::into))
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(joined.protocol_type.into()))
        .with_protocol_name(Some(joined.protocol_name.into()))
        .with_leader(joined.leader.into())
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(joined.member_id.into())
        .with_members(members.collect())
}

type Waiting<T, E> = oneshot::Receiver<Result<T, E>>;

impl Call {
    fn join(&self, request: JoinGroupRequest) -> Result<Waiting<Joined, Refused>, ResponseError> {
        self.coordinates_group(&request.group_id)?;
        let session_timeout = millis(request.session_timeout_ms);
        if !self.shared.settings.session_timeouts.contains(&session_timeout) {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        let group_id = request.group_id.to_string();
        let is_new = request.member_id.is_empty();
        let join = self.read_join(request, session_timeout);
        let (reply, waiting) = oneshot::channel();
        let limits = self.limits();
        let act = |group: &mut Group, now| {
            let classic = group.members.as_classic(limits, self.shared.groups.budget());
            classic.ok_or(ResponseError::InconsistentGroupProtocol)?.join(join, now, reply);
            Ok(waiting)
        };
        let groups = &self.shared.groups;
        if is_new {
            groups.with_new(&self.shared, &group_id, act)?
        } else {
            groups.with(&self.shared, &group_id, act).unwrap_or(Err(ResponseError::UnknownMemberId))
        }
    }

    fn read_join(&self, request: JoinGroupRequest, session_timeout: Duration) -> Join {
        let rebalance_timeout = millis(request.rebalance_timeout_ms).max(MIN_REBALANCE_TIMEOUT);
        let protocols = request.protocols.into_iter().map(|protocol| (protocol.name.to_string(), protocol.metadata));
        Join {
            member_id: request.member_id.to_string(),
            group_instance_id: request.group_instance_id.as_ref().map(StrBytes::to_string),
            client_id: self.client_id.as_ref().map(StrBytes::to_string).unwrap_or_default(),
            client_host: self.session.peer.clone(),
            session_timeout,
            // Version 0 has one time for both.
            rebalance_timeout: if self.version == 0 { session_timeout } else { rebalance_timeout },
            protocol_type: request.protocol_type.to_string(),
            protocols: protocols.collect(),
            needs_member_id: self.version >= 4,
            can_skip_assignment: self.version >= 9,
        }
    }

    fn limits(&self) -> Limits {
        let settings = &self.shared.settings;
        Limits { max_size: settings.group_max_size, initial_rebalance_delay: settings.initial_rebalance_delay }
    }

    /// Whether this broker coordinates a group, and the group's id can be one.
    fn coordinates_group(&self, id: &str) -> Result<(), ResponseError> {
        let error = |code| ResponseError::try_from_code(code).unwrap_or(ResponseError::UnknownServerError);
        self.coordinates(id).map_err(error)?;
        if id.is_empty() { Err(ResponseError::InvalidGroupId) } else { Ok(()) }
    }

    /// Runs `act` on a classic group that exists.
    fn classic<R>(&self, id: &str, act: impl FnOnce(&mut Classic, Instant) -> R) -> Result<R, ResponseError> {
        self.coordinates_group(id)?;
        let act = |group: &mut Group, now| match &mut group.members {
            Members::Classic(classic) => Some(act(classic, now)),
            _ => None,
        };
        self.shared.groups.with(&self.shared, id, act).flatten().ok_or(ResponseError::UnknownMemberId)
    }
}

impl Serve for SyncGroupRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let assignments = self.assignments.into_iter().map(|it| (it.member_id.to_string(), it.assignment));
        let sync = Sync {
            sender: membership(&self.member_id, self.generation_id, self.group_instance_id.as_ref()),
            protocol_type: self.protocol_type.as_ref().map(StrBytes::to_string),
            protocol_name: self.protocol_name.as_ref().map(StrBytes::to_string),
            assignments: assignments.collect(),
        };
        let (reply, waiting) = oneshot::channel();
        let answer = match call.classic(&self.group_id, |classic, now| classic.sync(sync, now, reply)) {
            Ok(()) => waiting.await.map_err(|_| Unanswered::HangUp)?,
            Err(error) => Err(error),
        };
        let mut response = match answer {
            Ok(Synced { protocol_type, protocol_name, assignment }) => SyncGroupResponse::default()
                .with_protocol_type(Some(protocol_type.into()))
                .with_protocol_name(Some(protocol_name.into()))
                .with_assignment(assignment),
            Err(error) => SyncGroupResponse::default().with_error_code(error.code()).with_assignment(Bytes::new()),
        };
        if call.version >= 1 {
            response.throttle_time_ms = call.throttle_ms();
        }
        call.encode(&response)
    }
}

impl Serve for HeartbeatRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let sender = membership(&self.member_id, self.generation_id, self.group_instance_id.as_ref());
        let lives = call.classic(&self.group_id, |classic, now| classic.heartbeat(&sender, now));
        let code = lives.and_then(|lives| lives).map_or_else(|error| error.code(), |()| 0);
        let throttle = if call.version >= 1 { call.throttle_ms() } else { 0 };
        call.encode(&HeartbeatResponse::default().with_error_code(code).with_throttle_time_ms(throttle))
    }
}

impl Call {
    /// What becomes of each member that is to leave. Members of the new protocol say so by a heartbeat; LeaveGroup is how
    /// administrators remove them.
    fn leave_group(&self, id: &str, leaving: &[Leaving]) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        self.coordinates_group(id)?;
        let act = |group: &mut Group, now| match &mut group.members {
            Members::Classic(classic) => Some(classic.leave(leaving, now)),
            Members::Consumer(consumer) => Some(consumer.remove(leaving)),
            Members::Empty => None,
        };
        self.shared.groups.with(&self.shared, id, act).flatten().ok_or(ResponseError::UnknownMemberId)
    }
}

/// A member id, and a group instance id.
type Leaving = (String, Option<String>);

impl Serve for LeaveGroupRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        // Before version 3 there is one member, and it has no group instance id.
        let single = (call.version < 3).then(|| (self.member_id.to_string(), None));
        let several = self
            .members
            .iter()
            .map(|member| (member.member_id.to_string(), member.group_instance_id.as_ref().map(StrBytes::to_string)));
        let leaving: Vec<_> = several.chain(single).collect();
        let mut response = LeaveGroupResponse::default();
        if call.version >= 1 {
            response.throttle_time_ms = call.throttle_ms();
        }
        let left = match call.leave_group(&self.group_id, &leaving) {
            Ok(left) => left,
            // In a group that nobody knows, nobody is known.
            Err(ResponseError::UnknownMemberId) => vec![Err(ResponseError::UnknownMemberId); leaving.len()],
            Err(error) => return call.encode(&response.with_error_code(error.code())),
        };
        let code = |left: &Result<(), ResponseError>| left.map_or_else(|error| error.code(), |()| 0);
        if call.version < 3 {
            response.error_code = left.first().map_or(0, code);
        } else {
            let members = leaving.into_iter().zip(&left).map(|((member_id, instance), left)| {
                MemberResponse::default()
                    .with_member_id(member_id.into())
                    .with_group_instance_id(instance.map(Into::into))
                    .with_error_code(code(left))
            });
            response.members = members.collect();
        }
        call.encode(&response)
    }
}

fn membership(member_id: &StrBytes, generation: i32, instance: Option<&StrBytes>) -> Membership {
    Membership {
        member_id: member_id.to_string(),
        generation_or_epoch: generation,
        group_instance_id: instance.map(StrBytes::to_string),
    }
}

/// A time on the wire; what is negative is none at all.
fn millis(wire: i32) -> Duration {
    Duration::from_millis(u64::try_from(wire).unwrap_or(0))
}

/// Shorter rebalance timeouts are taken for this one, so that a client cannot keep the coordinator busy.
const MIN_REBALANCE_TIMEOUT: Duration = Duration::from_millis(100);
