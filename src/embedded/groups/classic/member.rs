//! One member of a classic group: what it can do, what it was given, and which of its requests waits.
//!
//! Rules this file keeps:
//! - what a member sends is copied, so that no whole frame stays in memory for it;
//! - what its metadata means is looked at for one purpose alone, and may be anything.

use std::{collections::BTreeSet, time::Duration};

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use tokio::{sync::oneshot, time::Instant};

use super::super::budget::{Budget, Charge};

/// What JoinGroup asks for.
#[derive(Debug, Clone, Default)]
pub(in crate::embedded) struct Join {
    /// Empty if the member is new.
    pub(in crate::embedded) member_id: String,
    pub(in crate::embedded) group_instance_id: Option<String>,
    pub(in crate::embedded) client_id: String,
    pub(in crate::embedded) client_host: String,
    pub(in crate::embedded) session_timeout: Duration,
    pub(in crate::embedded) rebalance_timeout: Duration,
    pub(in crate::embedded) protocol_type: String,
    /// Name and metadata of each assignor, the preferred one first.
    pub(in crate::embedded) protocols: Vec<(String, Bytes)>,
    /// Whether a new member is first told its id and joins with it then (KIP-394).
    pub(in crate::embedded) needs_member_id: bool,
    /// Whether a leader that comes back can be told to leave the assignment as it is (KIP-814).
    pub(in crate::embedded) can_skip_assignment: bool,
}

/// What a member is told when a generation begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Joined {
    pub(in crate::embedded) generation: i32,
    pub(in crate::embedded) protocol_type: String,
    pub(in crate::embedded) protocol_name: String,
    pub(in crate::embedded) leader: String,
    pub(in crate::embedded) member_id: String,
    /// Told to the leader alone: member id, group instance id, metadata.
    pub(in crate::embedded) members: Vec<(String, Option<String>, Bytes)>,
    pub(in crate::embedded) skip_assignment: bool,
}

/// Why a member may not join, and the member id that its client is to use from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Refused {
    pub(in crate::embedded) error: ResponseError,
    pub(in crate::embedded) member_id: String,
}

/// What a member is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Synced {
    pub(in crate::embedded) protocol_type: String,
    pub(in crate::embedded) protocol_name: String,
    pub(in crate::embedded) assignment: Bytes,
}

/// Where an answer to JoinGroup goes. If the client has hung up, nowhere.
pub(in crate::embedded) type JoinReply = oneshot::Sender<Result<Joined, Refused>>;

/// Where an answer to SyncGroup goes.
pub(in crate::embedded) type SyncReply = oneshot::Sender<Result<Synced, ResponseError>>;

/// A member as admin tools see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Described {
    pub(in crate::embedded) member_id: String,
    pub(in crate::embedded) group_instance_id: Option<String>,
    pub(in crate::embedded) client_id: String,
    pub(in crate::embedded) client_host: String,
    pub(in crate::embedded) metadata: Bytes,
    pub(in crate::embedded) assignment: Bytes,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) group_instance_id: Option<String>,
    client_id: String,
    client_host: String,
    session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    /// When the session ends, unless a request of this member waits.
    pub(super) expires: Instant,
    /// Whether it waits for its first generation.
    pub(super) is_new: bool,
    pub(super) joining: Option<JoinReply>,
    pub(super) syncing: Option<SyncReply>,
    charge: Charge,
    assignment_charge: Option<Charge>,
}

impl Member {
    /// A member that waits for its first generation. It has [`NEW_MEMBER_JOIN_TIMEOUT`], whatever its session timeout.
    ///
    /// # Errors
    /// GROUP_MAX_SIZE_REACHED if there is no room for what it sends.
    pub(super) fn new(join: Join, budget: &Budget, now: Instant) -> Result<Self, ResponseError> {
        Ok(Self {
            charge: budget.take(weight(&join))?,
            group_instance_id: join.group_instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: copied(&join.protocols),
            assignment: Bytes::new(),
            expires: now + NEW_MEMBER_JOIN_TIMEOUT,
            is_new: true,
            joining: None,
            syncing: None,
            assignment_charge: None,
        })
    }

    /// Takes over what it says about itself now.
    ///
    /// # Errors
    /// GROUP_MAX_SIZE_REACHED if there is no room for it.
    pub(super) fn update(&mut self, join: &Join, budget: &Budget) -> Result<(), ResponseError> {
        self.charge = budget.take(weight(join))?;
        self.protocols = copied(&join.protocols);
        self.session_timeout = join.session_timeout;
        self.rebalance_timeout = join.rebalance_timeout;
        Ok(())
    }

    /// Shows that it lives.
    pub(super) fn touch(&mut self, now: Instant) {
        self.expires = now + self.session_timeout;
    }

    /// When its session ends. `None` while a request of a member that is not new waits: the broker is what it waits
    /// for.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        Some(self.expires).filter(|_| self.is_new || !waits)
    }

    /// Whether it would come with the same assignors and metadata.
    pub(super) fn matches(&self, join: &Join) -> bool {
        self.protocols == join.protocols
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(super) fn protocols(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn assignment(&self) -> Bytes {
        self.assignment.clone()
    }

    /// Gives it something to read.
    pub(super) fn assign(&mut self, assignment: Bytes, charge: Option<Charge>) {
        self.assignment = assignment;
        self.assignment_charge = charge;
    }

    /// Answers its SyncGroup, if one waits. Returns whether one did.
    pub(super) fn answer_sync(&mut self, answer: Result<Synced, ResponseError>) -> bool {
        // A client that has hung up asks again, or its session ends.
        self.syncing.take().is_some_and(|reply| reply.send(answer).is_ok())
    }

    /// Answers its JoinGroup, if one waits.
    pub(super) fn answer_join(&mut self, answer: Result<Joined, Refused>) {
        if let Some(reply) = self.joining.take() {
            let _ = reply.send(answer);
        }
    }

    pub(super) fn describe(&self, member_id: &str) -> Described {
        Described {
            member_id: member_id.to_owned(),
            group_instance_id: self.group_instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: Bytes::new(),
            assignment: Bytes::new(),
        }
    }
}

/// The topics of a consumer's subscription; `None` if it is not one. Its first version is how all of them begin.
pub(super) fn subscription(mut metadata: Bytes) -> Option<BTreeSet<String>> {
    let mut topics = BTreeSet::new();
    metadata.try_get_i16().ok().filter(|version| *version >= 0)?;
    for _ in 0..metadata.try_get_i32().ok()?.max(0) {
        let length = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let name = metadata.get(..length)?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
        metadata.advance(length);
    }
    Some(topics)
}

fn copied(protocols: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    protocols.iter().map(|(name, metadata)| (name.clone(), Bytes::copy_from_slice(metadata))).collect()
}

/// What remembering a member takes, roughly.
fn weight(join: &Join) -> usize {
    let protocols = join.protocols.iter().map(|(name, metadata)| name.len() + metadata.len() + PER_PROTOCOL);
    let names = [Some(&join.client_id), join.group_instance_id.as_ref(), Some(&join.client_host)];
    protocols.chain(names.into_iter().flatten().map(|name| 2 * name.len())).sum()
}

const PER_PROTOCOL: usize = 64;

/// How long a member may wait for its first generation.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);
