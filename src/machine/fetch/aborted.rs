//! Which batches of a reply belong to aborted transactions (KIP-98).
//!
//! Rules this file keeps:
//! - the broker's list says where each aborted transaction of a producer begins; it ends at that producer's next abort
//!   marker; the list comes in no order that may be relied on (T10);
//! - control batches are never the user's.

use crate::{
    plant::{self, Plant},
    types::Offset,
};

/// Goes through the batches of one reply in order. Made anew for every reply, because each brings its own list.
#[derive(Debug, Default)]
pub(crate) struct AbortedFilter {
    /// Transactions that begin further on: first offset and producer id, the nearest last.
    coming: Vec<(Offset, i64)>,
    /// Producers inside an aborted transaction.
    inside: Vec<i64>,
}

/// What the filter has to know of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchView {
    pub(crate) last_offset: Offset,
    pub(crate) producer_id: i64,
    pub(crate) transactional: bool,
    pub(crate) control: Option<Control>,
}

/// The kinds of control batch that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// The producer's transaction ends here and never happened.
    Abort,
    /// A commit marker, or a kind that says nothing about aborted transactions.
    Other,
}

impl AbortedFilter {
    /// `aborted`: producer id and first offset of each transaction, as the broker lists them.
    pub(crate) fn new(aborted: impl IntoIterator<Item = (i64, Offset)>) -> Self {
        let mut coming: Vec<_> = aborted.into_iter().map(|(producer_id, first)| (first, producer_id)).collect();
        coming.sort_unstable_by(|left, right| right.cmp(left));
        Self { coming, inside: Vec::new() }
    }

    /// Whether the next batch in order is none of the user's.
    pub(crate) fn hides(&mut self, batch: BatchView) -> bool {
        while let Some((_, producer_id)) = self.coming.pop_if(|(first, _)| *first <= batch.last_offset) {
            self.inside.push(producer_id);
        }
        match batch.control {
            Some(Control::Abort) => {
                self.inside.retain(|id| *id != batch.producer_id);
                true
            }
            Some(Control::Other) => true,
            None => {
                batch.transactional && self.inside.contains(&batch.producer_id) && !plant::is(Plant::DeliverAborted)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(last_offset: Offset, producer_id: i64) -> BatchView {
        BatchView { last_offset, producer_id, transactional: true, control: None }
    }

    fn marker(last_offset: Offset, producer_id: i64, control: Control) -> BatchView {
        BatchView { control: Some(control), ..batch(last_offset, producer_id) }
    }

    #[test]
    fn t10_an_unsorted_list_hides_exactly_the_aborted_batches() {
        let mut filter = AbortedFilter::new([(8, 40), (7, 10), (7, 60)]);
        let plain = BatchView { transactional: false, ..batch(25, 7) };
        let story = [
            (batch(9, 7), false, "before the transaction begins"),
            (batch(19, 7), true, "it began at 10"),
            (batch(20, 8), false, "another producer's"),
            (plain, false, "not transactional, though of the same producer"),
            (marker(26, 7, Control::Abort), true, "markers are nobody's"),
            (batch(30, 7), false, "its next transaction was committed"),
            (marker(31, 7, Control::Other), true, "the commit"),
            (batch(45, 8), true, "it began at 40, inside this batch"),
            (batch(65, 7), true, "its second aborted transaction"),
        ];
        for (batch, hidden, why) in story {
            assert_eq!(filter.hides(batch), hidden, "{why}");
        }
    }

    #[test]
    fn without_a_list_only_control_batches_are_hidden() {
        let mut filter = AbortedFilter::default();
        assert!(!filter.hides(batch(9, 7)));
        assert!(filter.hides(marker(10, 7, Control::Abort)));
    }
}
