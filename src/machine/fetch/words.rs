//! What goes into a fetcher and what comes out of it: where to begin, the limits, and what is to be sent.

use std::time::Duration;

use crate::{
    properties::OffsetReset,
    types::{BrokerId, Offset, TopicPartition},
    wire::Uuid,
};

use super::{BEGINNING, END};

/// Where reading of a partition begins. Offsets are looked up at the partition's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// The oldest record that the partition still holds.
    Beginning,
    /// Behind the newest record: only what is written from now on.
    End,
    /// This offset; below 0 means 0. If it is out of the log's range, `auto.offset.reset` decides.
    Offset(Offset),
    /// The first record whose timestamp is this one or later, in milliseconds since 1970; the end if there is none.
    Timestamp(i64),
}

/// The limits of fetching. All sizes are bytes.
#[derive(Debug, Clone)]
pub(crate) struct FetchConfig {
    /// The most that one response is asked to hold (`fetch.max.bytes`).
    pub(crate) max_bytes: usize,
    /// The most per partition and response (`max.partition.fetch.bytes`).
    pub(crate) partition_max_bytes: usize,
    /// The most that is fetched ahead and not yet delivered, requests in flight included.
    pub(crate) budget: usize,
    /// The pause after the first failure; it doubles up to `backoff_max` (`retry.backoff.ms`).
    pub(crate) backoff: Duration,
    /// The longest pause (`retry.backoff.max.ms`).
    pub(crate) backoff_max: Duration,
    /// What to do when the position is out of range (`auto.offset.reset`).
    pub(crate) reset: OffsetReset,
    /// How long a partition may be without success before that is told (`default.api.timeout.ms`).
    pub(crate) patience: Duration,
    /// How long a follower named by the leader is read from (KIP-392; `metadata.max.age.ms`).
    pub(crate) follower_age: Duration,
}

/// A fetch to send: the caller sends it and hands back the reply or the failure under the same ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchPlan {
    pub(crate) ticket: u64,
    pub(crate) broker: BrokerId,
    pub(crate) max_bytes: usize,
    pub(crate) parts: Vec<FetchPart>,
}

/// One partition of a [`FetchPlan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchPart {
    pub(crate) slot: usize,
    pub(crate) name: TopicPartition,
    pub(crate) topic_id: Uuid,
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: i32,
    pub(crate) max_bytes: usize,
}

/// Offsets to ask for (ListOffsets), under one ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LookupPlan {
    pub(crate) ticket: u64,
    pub(crate) broker: BrokerId,
    pub(crate) parts: Vec<LookupPart>,
}

/// One partition of a [`LookupPlan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LookupPart {
    pub(crate) slot: usize,
    pub(crate) name: TopicPartition,
    pub(crate) timestamp: i64,
    pub(crate) leader_epoch: i32,
}

impl FetchConfig {
    /// How long to wait after so many failures in a row.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.backoff_max.max(self.backoff))
    }
}

impl StartFrom {
    /// The timestamp that ListOffsets takes, or the offset itself.
    pub(super) fn resolve(self) -> Result<Offset, i64> {
        match self {
            Self::Beginning => Err(BEGINNING),
            Self::End => Err(END),
            Self::Timestamp(timestamp) => Err(timestamp.max(0)),
            Self::Offset(offset) => Ok(offset.max(0)),
        }
    }
}
