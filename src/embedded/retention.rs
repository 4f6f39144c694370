//! How records leave a log: by age, by size, by order, by a loss on purpose, by compaction.
//!
//! Rules this file keeps:
//! - from the front a log loses whole segments, from its end whole batches; its start offset may stand in a batch;
//! - the segment that grows is never compacted, and nothing from an open transaction on;
//! - whoever takes something away says how much memory that freed; compaction may take more than it frees, since the
//!   records of a batch with a delete horizon count their timestamps from that.

use kafka_protocol::ResponseError;

use super::{
    compaction::{Cleaned, MOST_KEYS, Newest, Rules, clean, note},
    configs::TopicConfig,
    log::{Log, Segment},
};

impl Log {
    /// Takes away everything, for good, and wakes whoever reads it.
    pub(super) fn delete(&mut self) -> usize {
        let freed = self.cost();
        self.wake();
        *self = Self::new(self.segment_bytes, self.configs.clone());
        self.deleted = true;
        freed
    }

    /// Takes away everything before `offset`, or everything for −1 (KIP-107).
    pub(super) fn delete_before(&mut self, offset: i64) -> Result<usize, ResponseError> {
        let offset = if offset == -1 { self.end_offset } else { offset };
        if !(0..=self.end_offset).contains(&offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        Ok(self.start_at(offset))
    }

    /// Drops the segment that starts at `base_offset`, and what is older, if it is still there.
    pub(super) fn drop_segment(&mut self, base_offset: i64) -> usize {
        if !self.has_segment(base_offset) {
            return 0;
        }
        let mut freed = 0;
        while self.segments.front().is_some_and(|oldest| oldest.base_offset <= base_offset) {
            freed += self.start_at(self.end_of_oldest());
        }
        freed
    }

    pub(super) fn has_segment(&self, base_offset: i64) -> bool {
        self.segments.binary_search_by_key(&base_offset, |segment| segment.base_offset).is_ok()
    }

    /// Drops what is too old or too much by the topic's settings.
    pub(super) fn expire(&mut self, now_millis: i64) -> usize {
        let config = self.configs.current();
        let mut freed = 0;
        while config.delete && self.segments.front().is_some_and(|oldest| self.is_expired(oldest, &config, now_millis))
        {
            freed += self.start_at(self.end_of_oldest());
        }
        freed
    }

    fn is_expired(&self, oldest: &Segment, config: &TopicConfig, now_millis: i64) -> bool {
        let age = now_millis.saturating_sub(oldest.max_timestamp);
        let too_old = config.retention_millis >= 0 && oldest.max_timestamp >= 0 && age > config.retention_millis;
        let rest = self.segments.iter().skip(1).map(|segment| segment.size).sum::<usize>();
        let bound = usize::try_from(config.retention_bytes);
        too_old || bound.is_ok_and(|bound| rest >= bound)
    }

    /// One past the last offset of the oldest segment.
    fn end_of_oldest(&self) -> i64 {
        self.segments.get(1).map_or(self.end_offset, |next| next.base_offset)
    }

    fn start_at(&mut self, offset: i64) -> usize {
        let mut freed = 0;
        while !self.segments.is_empty() && self.end_of_oldest() <= offset {
            freed += self.segments.pop_front().map_or(0, |segment| segment.cost);
        }
        if offset > self.start_offset {
            self.start_offset = offset;
            self.epochs.truncate_start(offset);
            self.isolation.trim(offset);
        }
        freed
    }

    /// Loses every batch that reaches `offset` or beyond, as an unclean election does.
    pub(super) fn truncate(&mut self, offset: i64) -> usize {
        let offset = offset.max(self.start_offset);
        let (before, mut end) = (self.cost(), self.end_offset);
        while let Some(newest) = self.segments.back_mut() {
            let kept = newest.batches.partition_point(|batch| batch.last_offset() < offset);
            if let Some(lost) = newest.batches.get(kept) {
                end = lost.base_offset;
            }
            let mut batches = std::mem::take(&mut newest.batches);
            batches.truncate(kept);
            newest.replace(batches);
            if kept > 0 {
                break;
            }
            self.segments.pop_back();
        }
        self.end_offset = end.max(self.start_offset);
        self.epochs.truncate_end(self.end_offset);
        self.producers.truncate(self.end_offset);
        self.isolation.truncate(self.end_offset);
        before - self.cost()
    }

    /// Leaves of every key only its last record, if the topic wants that and there is enough to do.
    pub(super) fn compact(&mut self, now_millis: i64) {
        let config = self.configs.current();
        let closed = if config.compact { self.cleanable(&config, now_millis) } else { 0 };
        if closed == 0 {
            return;
        }
        let aborted = self.isolation.aborted_in(self.start_offset, self.end_offset);
        let is_aborted = |producer: i64, offset: i64| {
            let fits = |of: &super::isolation::Aborted| (of.first_offset..=of.last_offset).contains(&offset);
            aborted.iter().any(|of| of.producer_id == producer && fits(of))
        };
        let delete_retention_millis = config.delete_retention_millis;
        let rules = Rules { now_millis, delete_retention_millis, is_aborted: &is_aborted };
        let mut newest = Newest::default();
        let mut noted_until = i64::MAX;
        for batch in self.segments.iter().take(closed).flat_map(|segment| &segment.batches) {
            if newest.len() >= MOST_KEYS {
                noted_until = batch.base_offset;
                break;
            }
            note(&mut newest, batch, &rules);
        }
        for segment in self.segments.iter_mut().take(closed) {
            let batches = std::mem::take(&mut segment.batches).into_iter();
            let left = batches.filter_map(|batch| match clean(&batch, &newest, &rules) {
                _ if batch.base_offset >= noted_until => Some(batch),
                Cleaned::Same => Some(batch),
                Cleaned::Smaller(smaller) => Some(smaller),
                Cleaned::Gone => None,
            });
            segment.replace(left.collect());
            segment.cleaned = true;
        }
        self.segments.retain(|segment| !segment.batches.is_empty());
    }

    /// How many segments are to be compacted; 0 if it is not worth it yet.
    fn cleanable(&self, config: &TopicConfig, now_millis: i64) -> usize {
        let stable = self.last_stable_offset();
        let ends = self.segments.iter().skip(1).map(|next| next.base_offset);
        let settled = |(segment, end): &(&Segment, i64)| {
            let age = now_millis.saturating_sub(segment.max_timestamp);
            *end <= stable && (config.min_compaction_lag_millis == 0 || age >= config.min_compaction_lag_millis)
        };
        let closed: Vec<&Segment> =
            self.segments.iter().zip(ends).take_while(settled).map(|(segment, _)| segment).collect();
        let size =
            |wanted: fn(&Segment) -> bool| closed.iter().filter(|it| wanted(it)).map(|it| it.size).sum::<usize>();
        let (dirty, all) = (size(|segment| !segment.cleaned), size(|_| true));
        let overdue = closed
            .iter()
            .flat_map(|segment| &segment.batches)
            .any(|batch| batch.header.delete_horizon().is_some_and(|horizon| horizon <= now_millis));
        let worth_it = dirty > 0 && dirty as f64 >= config.min_cleanable_ratio * all as f64;
        if worth_it || overdue { closed.len() } else { 0 }
    }
}
