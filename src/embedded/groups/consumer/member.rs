//! One member of a consumer group, and how it gets from what it owns to what it is to own.
//!
//! ```text
//!                  nothing to revoke, all free                      another target
//!   (joined) ────────────────────────────────▶ Stable ◀──┐ ─────────────────────────────────┐
//!      │                                         ▲       │ the last one became free          │
//!      │       nothing to revoke, some not free  │   Unreleased ◀──────────┐                 │
//!      │                                         │                         │                 ▼
//!      └──────────────────────────────▶ Unrevoked: asked to give up, holds its epoch until it says that it has
//! ```
//!
//! Rules this file keeps:
//! - a member gives up first and gets afterwards: it is in the target's epoch only when nothing is left to revoke;
//! - a partition counts as owned until its member says that it has let go of it, or is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::assignor::{Assignment, Assignor};

/// A member of a consumer group.
#[derive(Debug, Clone)]
pub(in crate::embedded) struct Member {
    pub(in crate::embedded) id: String,
    /// The epoch it was last told, [`LEFT_FOR_NOW`] for a static member that is away.
    pub(in crate::embedded) epoch: i32,
    /// The epoch before, which it may still believe in if an answer got lost.
    pub(super) previous_epoch: i32,
    pub(in crate::embedded) instance_id: Option<String>,
    pub(in crate::embedded) rack_id: Option<String>,
    pub(in crate::embedded) client_id: String,
    pub(in crate::embedded) client_host: String,
    /// How long it may take to let go of partitions.
    pub(super) rebalance_timeout: Duration,
    pub(in crate::embedded) topic_names: BTreeSet<String>,
    pub(in crate::embedded) topic_regex: Option<String>,
    pub(super) assignor: Option<Assignor>,
    /// What it owns and is to keep.
    pub(in crate::embedded) assigned: Assignment,
    pub(super) progress: Progress,
    pub(super) session_ends: Instant,
}

/// How far a member is with its reconciliation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has been told all that the target of its epoch gives it.
    Stable,
    /// It has been asked to give up `pending`, and is fenced when it does not until `deadline`.
    Unrevoked { pending: Assignment, deadline: Instant },
    /// It has given up all it had to, but something it is to get is still owned by another member.
    Unreleased,
}

impl Member {
    pub(super) fn new(id: String, now: Instant) -> Self {
        Self {
            id,
            epoch: 0,
            previous_epoch: 0,
            instance_id: None,
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout: Duration::ZERO,
            topic_names: BTreeSet::new(),
            topic_regex: None,
            assignor: None,
            assigned: Assignment::new(),
            progress: Progress::Stable,
            session_ends: now,
        }
    }

    /// Whether it has reached the target of this epoch wholly.
    pub(super) fn is_at(&self, epoch: i32) -> bool {
        self.epoch == epoch && self.progress == Progress::Stable
    }

    /// When to remove the member: its session ended, or it has not let go in time.
    pub(super) fn deadline(&self) -> Instant {
        match self.progress {
            // Whoever is away for now has nothing to let go of.
            Progress::Unrevoked { deadline, .. } if self.epoch != LEFT_FOR_NOW => deadline.min(self.session_ends),
            _ => self.session_ends,
        }
    }

    /// All that nobody else may get: what it keeps and what it has not given up yet.
    pub(super) fn holds(&self) -> impl Iterator<Item = (Uuid, i32)> {
        let pending = match &self.progress {
            Progress::Unrevoked { pending, .. } => Some(pending),
            _ => None,
        };
        let both = [Some(&self.assigned), pending].into_iter().flatten().flatten();
        both.flat_map(|(topic, list)| list.iter().map(|partition| (*topic, *partition)))
    }

    /// Takes the next step towards the target, if there is one. `owned` is what the member says it owns, if it says;
    /// `free` tells which partitions are nobody's.
    pub(super) fn reconcile(
        &mut self,
        target: &Target<'_>,
        owned: Option<&Assignment>,
        free: impl Fn(Uuid, i32) -> bool,
        now: Instant,
    ) {
        match &self.progress {
            Progress::Stable if self.epoch == target.epoch => {}
            Progress::Unrevoked { pending, .. } if still_owns(owned, pending) => {}
            // What was asked for is revoked: one epoch further, though not yet the target's perhaps.
            Progress::Unrevoked { .. } => self.advance(self.epoch.saturating_add(1), target, owned, free, now),
            Progress::Stable | Progress::Unreleased => self.advance(self.epoch, target, owned, free, now),
        }
    }

    fn advance(
        &mut self,
        epoch: i32,
        target: &Target<'_>,
        owned: Option<&Assignment>,
        free: impl Fn(Uuid, i32) -> bool,
        now: Instant,
    ) {
        let mut keep = intersection(&self.assigned, target.partitions);
        let pending = difference(&self.assigned, &keep);
        if !pending.is_empty() && still_owns(owned, &pending) {
            self.assigned = keep;
            self.progress = Progress::Unrevoked { pending, deadline: now + self.rebalance_timeout };
            return self.set_epoch(epoch);
        }
        let mut released = true;
        for (topic, list) in &difference(target.partitions, &keep) {
            let available: Vec<i32> = list.iter().copied().filter(|partition| free(*topic, *partition)).collect();
            released &= available.len() == list.len();
            if !available.is_empty() {
                keep.entry(*topic).or_default().extend(available);
            }
        }
        self.assigned = keep;
        self.progress = if released { Progress::Stable } else { Progress::Unreleased };
        self.set_epoch(target.epoch);
    }

    fn set_epoch(&mut self, epoch: i32) {
        if self.epoch != epoch {
            self.previous_epoch = std::mem::replace(&mut self.epoch, epoch);
        }
    }
}

/// What a member is to own, and since which epoch.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) epoch: i32,
    pub(super) partitions: &'a Assignment,
}

/// Whether a member has something left of what it is to give up: as long as it does not tell what it owns, yes.
fn still_owns(owned: Option<&Assignment>, pending: &Assignment) -> bool {
    owned.is_none_or(|owned| !intersection(owned, pending).is_empty())
}

fn intersection(one: &Assignment, other: &Assignment) -> Assignment {
    select(one, |topic, partition| other.get(topic).is_some_and(|list| list.contains(&partition)))
}

fn difference(one: &Assignment, other: &Assignment) -> Assignment {
    select(one, |topic, partition| other.get(topic).is_none_or(|list| !list.contains(&partition)))
}

fn select(from: &Assignment, wanted: impl Fn(&Uuid, i32) -> bool) -> Assignment {
    let mut selected = BTreeMap::new();
    for (topic, list) in from {
        let list: BTreeSet<i32> = list.iter().copied().filter(|partition| wanted(topic, *partition)).collect();
        if !list.is_empty() {
            selected.insert(*topic, list);
        }
    }
    selected
}

/// Whether all of `part` is in `whole`.
pub(super) fn is_within(part: &Assignment, whole: &Assignment) -> bool {
    part.iter().all(|(topic, list)| list.is_empty() || whole.get(topic).is_some_and(|all| list.is_subset(all)))
}

/// The epoch by which a static member says that it comes back (KIP-848).
pub(in crate::embedded) const LEFT_FOR_NOW: i32 = -2;
