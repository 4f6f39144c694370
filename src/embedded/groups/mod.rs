//! Consumer groups: who is in them, who reads what, and how far they are.
//!
//! Rules this module keeps:
//! - a group has one lock; no answer is awaited under it;
//! - a group is of the classic protocol or of the new one (KIP-848), or of none while it is empty;
//! - its offsets outlive its members.

#[cfg(test)]
mod consumer;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::Shared;

/// All groups of the cluster.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_id: Mutex<BTreeMap<String, Arc<Mutex<Group>>>>,
}

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {}

impl Groups {
    /// Looks at the deadlines of a group: sessions that end, rebalances that have waited long enough.
    pub(super) fn handle_timeout(&self, _shared: &Shared, id: &str, _now: Instant) {
        let _group = self.group(id);
    }

    fn group(&self, id: &str) -> Option<Arc<Mutex<Group>>> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Mutex<Group>>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
