//! What a group has committed: an offset for each partition, and those that wait for a transaction to end.
//!
//! Rules this file keeps:
//! - a transaction's offsets are invisible until it commits, and gone when it aborts (KIP-98);
//! - of a plain commit and a transaction's, the one that came later stays, whenever the transaction ends;
//! - whoever asks for stable offsets learns which partitions a transaction still holds (KIP-447).

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;

use super::budget::{Budget, Charge};

/// How far a group is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Committed {
    /// The next offset to read.
    pub(in crate::embedded) offset: i64,
    /// The epoch of the last record read; −1 if not told (KIP-320).
    pub(in crate::embedded) leader_epoch: i32,
    /// Whatever the client wants to remember with it.
    pub(in crate::embedded) metadata: String,
    /// When it was committed, in milliseconds since 1970.
    pub(in crate::embedded) commit_timestamp: i64,
}

/// The offsets of a group.
#[derive(Debug, Default)]
pub(in crate::embedded) struct Offsets {
    committed: BTreeMap<Partition, Stored>,
    /// By producer id: what a transaction will commit.
    staged: BTreeMap<i64, BTreeMap<Partition, Stored>>,
    /// Counts commits, so that they can be put in order.
    commits: u64,
}

/// Topic and index.
type Partition = (String, i32);

#[derive(Debug)]
struct Stored {
    committed: Committed,
    order: u64,
    _charge: Charge,
}

impl Offsets {
    /// Commits an offset.
    ///
    /// # Errors
    /// INVALID_COMMIT_OFFSET_SIZE if there is no room for it.
    pub(super) fn commit(
        &mut self,
        budget: &Budget,
        partition: Partition,
        committed: Committed,
    ) -> Result<(), ResponseError> {
        let charge = charge(budget, &partition.0, &committed)?;
        let stored = self.stored(committed, charge);
        self.committed.insert(partition, stored);
        Ok(())
    }

    /// Keeps an offset, charged for before, until the transaction of this producer ends.
    pub(super) fn stage(&mut self, producer_id: i64, partition: Partition, committed: Committed, charge: Charge) {
        let stored = self.stored(committed, charge);
        self.staged.entry(producer_id).or_default().insert(partition, stored);
    }

    /// Commits or forgets what a producer's transaction has staged.
    pub(super) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        for (partition, staged) in self.staged.remove(&producer_id).unwrap_or_default() {
            let newer = self.committed.get(&partition).is_none_or(|present| present.order < staged.order);
            if commit && newer {
                self.committed.insert(partition, staged);
            }
        }
    }

    fn stored(&mut self, committed: Committed, charge: Charge) -> Stored {
        self.commits += 1;
        Stored { committed, order: self.commits, _charge: charge }
    }

    /// What is committed for a partition.
    pub(in crate::embedded) fn committed(&self, topic: &str, index: i32) -> Option<&Committed> {
        self.committed.get(&(topic.to_owned(), index)).map(|stored| &stored.committed)
    }

    /// Whether a transaction under way holds an offset for a partition.
    pub(in crate::embedded) fn is_unstable(&self, topic: &str, index: i32) -> bool {
        let partition = (topic.to_owned(), index);
        self.staged.values().any(|staged| staged.contains_key(&partition))
    }

    /// All committed offsets, ordered by topic and index.
    pub(in crate::embedded) fn all(&self) -> impl Iterator<Item = (&str, i32, &Committed)> {
        self.committed.iter().map(|((topic, index), stored)| (topic.as_str(), *index, &stored.committed))
    }

    /// Forgets what is committed for a partition.
    pub(in crate::embedded) fn delete(&mut self, topic: &str, index: i32) {
        self.committed.remove(&(topic.to_owned(), index));
    }

    /// Forgets everything about a topic that is no more.
    pub(super) fn delete_topic(&mut self, topic: &str) {
        self.committed.retain(|(name, _), _| name != topic);
        self.staged.values_mut().for_each(|staged| staged.retain(|(name, _), _| name != topic));
        self.staged.retain(|_, staged| !staged.is_empty());
    }

    /// Forgets what is committed; transactions under way keep theirs.
    pub(super) fn expire(&mut self) {
        self.committed.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.staged.is_empty()
    }

    /// The producers with a transaction under way here.
    pub(super) fn producers(&self) -> BTreeSet<i64> {
        self.staged.keys().copied().collect()
    }
}

/// What keeping an offset takes.
///
/// # Errors
/// INVALID_COMMIT_OFFSET_SIZE if there is no room for it.
pub(super) fn charge(budget: &Budget, topic: &str, committed: &Committed) -> Result<Charge, ResponseError> {
    budget.take(topic.len() + committed.metadata.len()).map_err(|_| ResponseError::InvalidCommitOffsetSize)
}
