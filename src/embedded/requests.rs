//! How many requests of each kind and version were taken, and from whom connections came.
//!
//! Rules this file keeps: a request costs one addition, without a lock; a connection costs a lock.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::api::{Api, SERVED};

/// The counters of a cluster, a row for each kind of request.
#[derive(Debug)]
pub(super) struct Requests {
    rows: Vec<[AtomicU64; VERSIONS]>,
    /// By principal: those that a password or a certificate stands for, so there are not many.
    connections: Mutex<BTreeMap<String, u64>>,
}

impl Default for Requests {
    fn default() -> Self {
        let last = SERVED.iter().map(|(api, ..)| *api as usize).max().unwrap_or(0);
        let rows = (0..=last).map(|_| std::array::from_fn(|_| AtomicU64::new(0)));
        Self { rows: rows.collect(), connections: Mutex::default() }
    }
}

impl Requests {
    pub(super) fn count(&self, key: i16, version: i16) {
        let row = usize::try_from(key).ok().and_then(|key| self.rows.get(key));
        if let Some(counter) = row.and_then(|row| row.get(usize::try_from(version).ok()?)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_connection(&self, principal: String) {
        *self.connections.lock().unwrap_or_else(PoisonError::into_inner).entry(principal).or_default() += 1;
    }

    pub(super) fn connections(&self) -> BTreeMap<String, u64> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// By version, without those that nobody has used.
    pub(super) fn of(&self, api: Api) -> BTreeMap<i16, u64> {
        let row = self.rows.get(api as usize).into_iter().flatten();
        let counts = (0..).zip(row).map(|(version, counter)| (version, counter.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

/// No request has as many versions.
const VERSIONS: usize = 32;
