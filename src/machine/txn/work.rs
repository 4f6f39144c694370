//! What is in a transaction, and how it is to end.

use std::collections::{BTreeSet, VecDeque};

use crate::wire::Str;

use super::{Ask, Version, Why};

/// What has gone into the open transaction.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) version: Version,
    pub(super) added: BTreeSet<usize>,
    pub(super) wanted: BTreeSet<usize>,
    pub(super) groups: BTreeSet<Str>,
    pub(super) offsets: VecDeque<(u64, Str)>,
    /// The coordinator may have heard of it.
    pub(super) touched: bool,
    /// The coordinator is known to have it.
    pub(super) confirmed: bool,
    pub(super) bump: Bump,
}

#[derive(Debug)]
pub(super) struct Ending {
    pub(super) work: Work,
    pub(super) commit: bool,
    pub(super) why: Why,
    /// An EndTxn may have been done that nobody answered.
    pub(super) unsure: bool,
}

/// Whether the next transaction needs a new epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bump {
    No,
    /// Something was lost on its way and may come late.
    Better,
    /// A partition's chain of sequence numbers is broken.
    Must,
}

impl Work {
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
            added: BTreeSet::new(),
            wanted: BTreeSet::new(),
            groups: BTreeSet::new(),
            offsets: VecDeque::new(),
            touched: false,
            confirmed: false,
            bump: Bump::No,
        }
    }

    /// What has to be told before the transaction can end.
    pub(super) fn next(&self) -> Option<Ask> {
        if !self.wanted.is_empty() {
            return Some(Ask::AddPartitions(self.wanted.iter().copied().collect()));
        }
        let (number, group) = self.offsets.front()?;
        let known = self.version == Version::Second || self.groups.contains(group);
        Some(if known { Ask::CommitOffsets(*number) } else { Ask::AddOffsets(group.clone()) })
    }
}

impl Ending {
    pub(super) fn abort(work: Work, why: Why) -> Self {
        Self { work, commit: false, why, unsure: false }
    }
}
