//! The transaction coordinator: who owns a transactional id, and what is open under it.

use tokio::time::Instant;

use super::Shared;

/// All transactional ids of the cluster.
#[derive(Debug, Default)]
pub(super) struct Transactions {}

impl Transactions {
    /// Looks at the deadline of a transactional id: a transaction that takes too long is aborted.
    pub(super) fn handle_timeout(&self, _shared: &Shared, _id: &str, _now: Instant) {}
}
