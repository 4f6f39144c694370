//! What a member of a consumer group says and is told, and which requests make no sense in any group.
//!
//! Rules this file keeps:
//! - the checks are those of Kafka's coordinator in their order, and need no group;
//! - what passes them is of bounded size.

use std::{collections::BTreeSet, time::Duration};

use kafka_protocol::ResponseError;

use super::{
    assignor::{Assignment, Assignor},
    member::LEFT_FOR_NOW,
};

/// What a member says of itself. What is `None` is as before.
#[derive(Debug, Clone, Default)]
pub(in crate::embedded) struct Heartbeat {
    pub(in crate::embedded) member_id: String,
    /// 0 to join, −1 to leave, −2 to leave for now as a static member.
    pub(in crate::embedded) member_epoch: i32,
    pub(in crate::embedded) instance_id: Option<String>,
    pub(in crate::embedded) rack_id: Option<String>,
    pub(in crate::embedded) client_id: String,
    pub(in crate::embedded) client_host: String,
    pub(in crate::embedded) rebalance_timeout: Option<Duration>,
    pub(in crate::embedded) topic_names: Option<BTreeSet<String>>,
    pub(in crate::embedded) topic_regex: Option<String>,
    pub(in crate::embedded) assignor: Option<String>,
    pub(in crate::embedded) owned: Option<Assignment>,
}

/// What a member is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Answer {
    pub(in crate::embedded) member_id: String,
    pub(in crate::embedded) member_epoch: i32,
    /// What it is to own from now on; `None` if that is as before.
    pub(in crate::embedded) assignment: Option<Assignment>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Refusal {
    pub(in crate::embedded) error: ResponseError,
    pub(in crate::embedded) message: String,
}

impl Refusal {
    pub(in crate::embedded) fn new(error: ResponseError, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

impl Heartbeat {
    /// What can be said of a request without knowing its group. `version` is that of the request.
    ///
    /// # Errors
    /// INVALID_REQUEST or UNSUPPORTED_ASSIGNOR.
    pub(in crate::embedded) fn validate(&self, version: i16) -> Result<(), Refusal> {
        let invalid = |message: &str| Err(Refusal::new(ResponseError::InvalidRequest, message));
        let blank = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
        let epoch = self.member_epoch;
        // From version 1 on the member chooses its id, in version 0 the coordinator did at the join (KIP-1082).
        if (version >= 1 || epoch != JOINS) && self.member_id.trim().is_empty() {
            return invalid("MemberId can't be empty.");
        }
        if blank(&self.instance_id) {
            return invalid("InstanceId can't be empty.");
        }
        if blank(&self.rack_id) {
            return invalid("RackId can't be empty.");
        }
        if epoch < LEFT_FOR_NOW {
            return invalid("MemberEpoch is invalid.");
        }
        if epoch == LEFT_FOR_NOW && self.instance_id.is_none() {
            return invalid("InstanceId can't be null.");
        }
        if epoch == JOINS {
            self.validate_join()?;
        }
        self.validate_sizes()?;
        match &self.assignor {
            Some(name) if Assignor::named(name).is_none() => {
                let supported = Assignor::ALL.map(Assignor::name).join(", ");
                let message = format!("ServerAssignor {name} is not supported. Supported assignors: {supported}.");
                Err(Refusal::new(ResponseError::UnsupportedAssignor, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether it says everything, as a member does that joins or has lost an answer: it is told all then.
    pub(super) fn is_full(&self) -> bool {
        let all = self.rebalance_timeout.is_some() && self.topic_names.is_some() && self.owned.is_some();
        self.member_epoch == JOINS || all
    }

    fn validate_join(&self) -> Result<(), Refusal> {
        let invalid = |message: &str| Err(Refusal::new(ResponseError::InvalidRequest, message));
        if self.rebalance_timeout.is_none() {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if self.topic_names.is_none() && self.topic_regex.is_none() {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
        Ok(())
    }

    /// Bounds what a member can make the group remember; Kafka leaves that to the size of requests.
    fn validate_sizes(&self) -> Result<(), Refusal> {
        let texts = [&self.instance_id, &self.rack_id].into_iter().flatten().chain([&self.member_id, &self.client_id]);
        let names = self.topic_names.iter().flatten();
        if texts.chain(names).any(|text| text.len() > MAX_TEXT)
            || self.topic_names.as_ref().is_some_and(|names| names.len() > MAX_NAMES)
        {
            let message = format!("At most {MAX_NAMES} names, and texts of at most {MAX_TEXT} bytes.");
            return Err(Refusal::new(ResponseError::InvalidRequest, message));
        }
        Ok(())
    }
}

/// The epoch by which a member joins.
pub(super) const JOINS: i32 = 0;
const MAX_NAMES: usize = 10_000;
const MAX_TEXT: usize = 1024;
