//! What compaction leaves of a batch: the last record of every key, where it stood.
//!
//! Rules this file keeps:
//! - offsets never change: a batch keeps its base offset and its last offset delta, whatever is taken out of it;
//! - a tombstone outlives what it deletes by `delete.retention.ms`, counted from when it was first left over (KIP-534);
//! - a record of an aborted transaction goes and hides nothing; control batches and batches that cannot be read stay.

use sha2::{Digest, Sha256};

use super::{
    batch::{BatchHeader, DELETE_HORIZON, Record, StoredBatch},
    codecs,
};
use crate::types::HashMap;

/// The offset of the last record of every key, by half of the key's SHA-256: as much memory for a long key as for a short.
pub(super) type Newest = HashMap<[u8; 16], i64>;

/// Where a log has more keys than this, what follows stays as it is, but for the rest of the batch that came so far: this
/// keeps what compaction holds meanwhile near 50 MB.
pub(super) const MOST_KEYS: usize = 1_000_000;

/// What decides over a record.
pub(super) struct Rules<'a> {
    pub(super) now_millis: i64,
    pub(super) delete_retention_millis: i64,
    /// Whether the record of this producer at this offset belongs to an aborted transaction.
    pub(super) is_aborted: &'a dyn Fn(i64, i64) -> bool,
}

/// What becomes of a batch.
#[derive(Debug)]
pub(super) enum Cleaned {
    Same,
    Smaller(StoredBatch),
    Gone,
}

/// Adds the keys of a batch.
pub(super) fn note(newest: &mut Newest, batch: &StoredBatch, rules: &Rules<'_>) {
    if batch.header.is_control() {
        return;
    }
    let Some(payload) = batch.payload() else { return };
    for record in batch.header.records(&payload).flatten() {
        let offset = batch.base_offset.saturating_add(record.offset_delta);
        if let Some(key) = record.key.filter(|_| !rules.aborted(batch, offset)) {
            newest.insert(digest(key), offset);
        }
    }
}

/// What is left of a batch.
pub(super) fn clean(batch: &StoredBatch, newest: &Newest, rules: &Rules<'_>) -> Cleaned {
    if batch.header.is_control() {
        return Cleaned::Same;
    }
    let Some(payload) = batch.payload() else { return Cleaned::Same };
    let records = || batch.header.records(&payload).flatten();
    if records().count() as i64 != i64::from(batch.header.record_count) {
        return Cleaned::Same;
    }
    let horizon = batch.header.delete_horizon();
    let overdue = horizon.is_some_and(|horizon| rules.now_millis >= horizon);
    let stays = |record: &Record<'_>| {
        let offset = batch.base_offset.saturating_add(record.offset_delta);
        let Some(key) = record.key else { return false };
        let is_last = newest.get(&digest(key)).is_none_or(|newest| *newest <= offset);
        is_last && !rules.aborted(batch, offset) && !(record.is_tombstone && overdue)
    };
    let left = || records().filter(stays);
    // Twice over the records rather than a list of them: a hostile batch has millions.
    let (count, tombstones) = left().fold((0, false), |(count, any), record| (count + 1, any || record.is_tombstone));
    let first_horizon = tombstones && horizon.is_none();
    match count {
        0 => Cleaned::Gone,
        count if count == batch.header.record_count && !first_horizon && tombstones == horizon.is_some() => {
            Cleaned::Same
        }
        count => {
            let first = || rules.now_millis.saturating_add(rules.delete_retention_millis);
            // Without a tombstone there is nothing to wait for any more.
            let horizon = tombstones.then(|| horizon.unwrap_or_else(first));
            rewritten(batch, left(), count, horizon).map_or(Cleaned::Same, Cleaned::Smaller)
        }
    }
}

/// The batch with these records alone; its base timestamp becomes `horizon` if there is one, else that of its first record
/// if it was a horizon.
fn rewritten<'a>(
    batch: &StoredBatch,
    left: impl Iterator<Item = Record<'a>>,
    record_count: i32,
    horizon: Option<i64>,
) -> Option<StoredBatch> {
    let old = &batch.header;
    let mut left = left.peekable();
    let first = left.peek().map_or(0, |record| record.timestamp_delta);
    let first = if old.delete_horizon().is_some() { first } else { 0 };
    let base_timestamp = horizon.unwrap_or(old.base_timestamp.saturating_add(first));
    let attributes = old.attributes & !DELETE_HORIZON | if horizon.is_some() { DELETE_HORIZON } else { 0 };
    let (mut payload, mut max_timestamp) = (Vec::new(), i64::MIN);
    for record in left {
        let timestamp = old.base_timestamp.saturating_add(record.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp);
        record.write(timestamp.saturating_sub(base_timestamp), &mut payload);
    }
    let max_timestamp = if old.is_log_append_time() { old.max_timestamp } else { max_timestamp };
    let header = BatchHeader { attributes, base_timestamp, max_timestamp, record_count, ..*old };
    let (header, bytes) = header.write(&codecs::compress(old.codec(), &payload)?);
    let frame = bytes.len();
    Some(StoredBatch::new(header, bytes, batch.base_offset, batch.leader_epoch(), frame))
}

fn digest(key: &[u8]) -> [u8; 16] {
    let whole: [u8; 32] = Sha256::digest(key).into();
    std::array::from_fn(|index| whole[index])
}

impl Rules<'_> {
    fn aborted(&self, batch: &StoredBatch, offset: i64) -> bool {
        batch.header.is_transactional() && (self.is_aborted)(batch.header.producer_id, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: &dyn Fn(i64, i64) -> bool = &|_, _| false;

    /// A batch at `base_offset` of keys and values, `-` for a tombstone, one millisecond apart from 1000 on.
    fn batch(base_offset: i64, codec: i16, producer_id: i64, records: &[(&str, &str)]) -> StoredBatch {
        let mut payload = Vec::new();
        for (delta, (key, value)) in records.iter().enumerate() {
            let mut record = vec![0, (delta * 2) as u8, (delta * 2) as u8, (key.len() * 2) as u8];
            record.extend(key.as_bytes());
            match *value {
                "-" => record.push(1),
                value => {
                    record.push((value.len() * 2) as u8);
                    record.extend(value.as_bytes());
                }
            }
            record.push(0);
            payload.push((record.len() * 2) as u8);
            payload.extend(record);
        }
        let transactional = if producer_id >= 0 { 0x10 } else { 0 };
        let header = BatchHeader {
            size: 0,
            attributes: codec | transactional,
            last_offset_delta: records.len() as i32 - 1,
            base_timestamp: 1000,
            max_timestamp: 999 + records.len() as i64,
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            record_count: records.len() as i32,
        };
        let (header, bytes) = header.write(&codecs::compress(codec, &payload).unwrap());
        StoredBatch::new(header, bytes, base_offset, 3, 0)
    }

    /// Offset, timestamp and whether it is a tombstone, for every record left.
    fn left(batch: &StoredBatch) -> Vec<(i64, i64, bool)> {
        let payload = batch.payload().unwrap();
        let tombstones = batch.header.records(&payload).map(|record| record.unwrap().is_tombstone);
        batch.timestamps().unwrap().into_iter().zip(tombstones).map(|((o, t), is)| (o, t, is)).collect()
    }

    #[test]
    fn the_last_record_of_every_key_stays_where_it_stood() {
        for codec in [codecs::NONE, 1, 2, 3, codecs::ZSTD] {
            let rules = Rules { now_millis: 5000, delete_retention_millis: 100, is_aborted: NOBODY };
            let first = batch(10, codec, -1, &[("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")]);
            let second = batch(14, codec, -1, &[("b", "2")]);
            let mut newest = Newest::default();
            [&first, &second].into_iter().for_each(|batch| note(&mut newest, batch, &rules));
            let Cleaned::Smaller(smaller) = clean(&first, &newest, &rules) else { panic!("codec {codec}") };
            assert_eq!(left(&smaller), [(12, 1002, false), (13, 1003, false)], "codec {codec}");
            assert_eq!((smaller.base_offset, smaller.last_offset(), smaller.leader_epoch()), (10, 13, 3));
            let bytes: Vec<u8> = smaller.pieces().flatten().collect();
            assert_eq!(BatchHeader::parse(&bytes).unwrap(), smaller.header);
            assert!(matches!(clean(&second, &newest, &rules), Cleaned::Same));
            let overwritten = batch(9, codec, -1, &[("a", "0")]);
            assert!(matches!(clean(&overwritten, &newest, &rules), Cleaned::Gone));
        }
    }

    #[test]
    fn a_tombstone_goes_when_its_time_has_come() {
        let rules = |now_millis| Rules { now_millis, delete_retention_millis: 100, is_aborted: NOBODY };
        let batch = batch(0, codecs::NONE, -1, &[("a", "1"), ("b", "1"), ("a", "-")]);
        let mut newest = Newest::default();
        note(&mut newest, &batch, &rules(5000));
        let Cleaned::Smaller(marked) = clean(&batch, &newest, &rules(5000)) else { panic!("a tombstone is left") };
        assert_eq!(left(&marked), [(1, 1001, false), (2, 1002, true)], "timestamps stay");
        assert_eq!((marked.header.delete_horizon(), marked.header.max_timestamp), (Some(5100), 1002));
        assert!(matches!(clean(&marked, &newest, &rules(5099)), Cleaned::Same), "not yet");
        let Cleaned::Smaller(rest) = clean(&marked, &newest, &rules(5100)) else { panic!("it is time") };
        assert_eq!(left(&rest), [(1, 1001, false)]);
        assert_eq!((rest.header.delete_horizon(), rest.header.base_timestamp), (None, 1001), "nothing to wait for");
        assert!(matches!(clean(&rest, &newest, &rules(5200)), Cleaned::Same));
    }

    #[test]
    fn what_was_aborted_hides_nothing() {
        let is_aborted: &dyn Fn(i64, i64) -> bool = &|producer, offset| producer == 7 && offset >= 1;
        let rules = Rules { now_millis: 0, delete_retention_millis: 0, is_aborted };
        let (kept, aborted) = (batch(0, 0, 7, &[("a", "1")]), batch(1, 0, 7, &[("a", "2")]));
        let mut newest = Newest::default();
        [&kept, &aborted].into_iter().for_each(|batch| note(&mut newest, batch, &rules));
        assert!(matches!(clean(&kept, &newest, &rules), Cleaned::Same));
        assert!(matches!(clean(&aborted, &newest, &rules), Cleaned::Gone));
    }
}
