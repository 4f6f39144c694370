//! Which leader epoch began where in a log, so that a reader can find out whether it read what was lost (KIP-101, 320).
//!
//! Rules this file keeps:
//! - epochs and their start offsets both rise: an epoch in which nothing was written gives way to its successor;
//! - what the log has no more, at either end, the history has no more.

/// The history of one log, oldest first.
#[derive(Debug, Default)]
pub(super) struct Epochs(Vec<(i32, i64)>);

impl Epochs {
    /// A leader takes over in `epoch` at the log's end.
    pub(super) fn begin(&mut self, epoch: i32, end_offset: i64) {
        while self.0.pop_if(|(known, start)| *known >= epoch || *start >= end_offset).is_some() {}
        self.0.push((epoch, end_offset));
    }

    /// The largest epoch up to `epoch`, and where its successor begins; `None` if it is not known.
    pub(super) fn end_of(&self, epoch: i32, end_offset: i64) -> Option<(i32, i64)> {
        let (latest, _) = self.0.last()?;
        if *latest == epoch {
            return Some((epoch, end_offset));
        }
        let above = self.0.iter().position(|(known, _)| *known > epoch)?;
        let (_, end) = self.0.get(above)?;
        let floor = above.checked_sub(1).and_then(|below| self.0.get(below));
        Some((floor.map_or(epoch, |(known, _)| *known), *end))
    }

    /// The epoch of the record at `offset`.
    pub(super) fn at(&self, offset: i64) -> Option<i32> {
        self.0.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
    }

    /// The log ends here now.
    pub(super) fn truncate_end(&mut self, end_offset: i64) {
        while self.0.pop_if(|(_, start)| *start >= end_offset).is_some() {}
    }

    /// The log starts here now: the epoch of its first record starts with it.
    pub(super) fn truncate_start(&mut self, start_offset: i64) {
        let before = self.0.iter().filter(|(_, start)| *start <= start_offset).count();
        self.0.drain(..before.saturating_sub(1));
        if let Some((_, start)) = self.0.first_mut() {
            *start = (*start).max(start_offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, at) in [(0, 0), (2, 10), (3, 20), (5, 20), (7, 30)] {
            epochs.begin(epoch, at);
        }
        epochs
    }

    #[test]
    fn ends_are_found_as_kafka_finds_them() {
        let epochs = history();
        assert_eq!(epochs.0, [(0, 0), (2, 10), (5, 20), (7, 30)], "nothing was written in epoch 3");
        let table = [
            ("the latest", 7, Some((7, 44))),
            ("one in the middle", 2, Some((2, 20))),
            ("one without records", 3, Some((2, 20))),
            ("one that never was", 6, Some((5, 30))),
            ("one of the future", 8, None),
            ("older than all", -1, Some((-1, 0))),
        ];
        for (case, epoch, expected) in table {
            assert_eq!(epochs.end_of(epoch, 44), expected, "{case}");
        }
        assert_eq!(Epochs::default().end_of(0, 0), None);
        assert_eq!([0, 9, 10, 29, 99].map(|offset| epochs.at(offset)), [Some(0), Some(0), Some(2), Some(5), Some(7)]);
    }

    #[test]
    fn the_history_is_as_long_as_the_log() {
        let mut epochs = history();
        epochs.truncate_end(20);
        assert_eq!(epochs.0, [(0, 0), (2, 10)]);
        let mut epochs = history();
        epochs.truncate_start(15);
        assert_eq!(epochs.0, [(2, 15), (5, 20), (7, 30)]);
        epochs.truncate_start(99);
        assert_eq!(epochs.0, [(7, 99)]);
    }
}
