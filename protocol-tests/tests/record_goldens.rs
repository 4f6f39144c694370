//! Record batches of every format, written by Kafka's own classes (`golden/records`), against what its reader found.

use std::fmt::Write;

use bytes::Bytes;
use milena::record::{Batches, DecodeScratch, RawBatch, RecordView, header};
use protocol_tests::record_golden::{golden, goldens};

const LIMIT: usize = 1 << 20;

fn first(name: &str) -> RawBatch {
    Batches::new(golden(name).region).next().expect("a batch").expect("whole")
}

fn batch_line(batch: &RawBatch) -> String {
    let mut line = format!("batch magic {} next {}", batch.magic(), batch.last_offset() + 1);
    if let Some(horizon) = batch.delete_horizon() {
        write!(line, " horizon {horizon}").expect("text");
    }
    if batch.magic() == 2 {
        let (base, max, epoch) = (batch.base_offset, batch.max_timestamp, batch.leader_epoch);
        let (id, producer_epoch, sequence) = (batch.producer_id, batch.producer_epoch, batch.base_sequence);
        write!(line, " base {base} max {max} epoch {epoch} producer {id} {producer_epoch} {sequence}").expect("text");
        line.push_str(if batch.is_transactional() { " transactional" } else { "" });
        line.push_str(if batch.is_control() { " control" } else { "" });
    }
    line
}

fn record_line(record: &RecordView<'_>) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let field = |field: Option<&[u8]>| field.map_or("null".into(), |bytes| format!("\"{}\"", hex(bytes)));
    let mut line = format!("{} {} {} {}", record.offset, record.timestamp, field(record.key), field(record.value));
    for header in record.headers() {
        write!(line, " {}={}", header.name(), header.value.map_or("null".into(), hex)).expect("text");
    }
    line
}

/// What we find in `region`, in the words of the goldens. A run of plain messages is one batch here, and one each there.
fn found(region: &Bytes) -> Vec<Vec<String>> {
    let mut scratch = DecodeScratch::default();
    let mut found = Vec::new();
    for batch in Batches::new(region.clone()) {
        let batch = batch.expect("readable");
        batch.check_crc().expect("the checksum");
        let decoded = batch.decode(&mut scratch, LIMIT).expect("decodable");
        decoded.check().expect("sound");
        assert_eq!(decoded.header.last_offset(), batch.last_offset());
        let records: Vec<_> = decoded.records().map(|record| record.expect("sound")).collect();
        assert_eq!(records.len(), decoded.header.record_count as usize);
        assert!(
            records.iter().all(|record| record.offset >= batch.base_offset),
            "the raw base offset is a lower bound"
        );
        if batch.magic() < 2 && batch.compression().expect("known").name() == "none" {
            let line = |offset: i64| format!("batch magic {} next {}", batch.magic(), offset + 1);
            found.extend(records.iter().map(|record| vec![line(record.offset), record_line(record)]));
        } else {
            found.push([batch_line(&batch)].into_iter().chain(records.iter().map(record_line)).collect());
        }
    }
    found
}

#[test]
fn we_find_what_kafka_finds() {
    let goldens = goldens();
    assert!(goldens.len() >= 29, "only {} goldens", goldens.len());
    for (name, golden) in goldens {
        assert_eq!(found(&golden.region), golden.expected, "{name}");
    }
}

#[test]
fn kafka_3160_the_wrong_descriptor_checksum_of_format_0_is_no_damage() {
    // Magic number of the frame, then flags and block size, then their checksum.
    let descriptor = |name: &str| {
        let region = golden(name).region;
        let at = region.windows(4).position(|four| four == [0x04, 0x22, 0x4d, 0x18]).expect("an LZ4 frame");
        region[at + 4..at + 7].to_vec()
    };
    let (wrong, right) = (descriptor("v0-lz4"), descriptor("v1-lz4"));
    assert_eq!(wrong[..2], right[..2]);
    assert_ne!(wrong[2], right[2], "the golden shows the quirk");
    assert_eq!(found(&golden("v0-lz4").region), golden("v0-lz4").expected);
}

#[test]
fn plain_messages_of_a_kind_are_one_batch() {
    let sizes = |name: &str| {
        let batches = Batches::new(golden(name).region).map(|batch| batch.expect("whole"));
        batches.map(|batch| (batch.magic(), batch.base_offset, batch.last_offset())).collect::<Vec<_>>()
    };
    assert_eq!(sizes("v0-none"), [(0, 100, 104)]);
    assert_eq!(sizes("v1-none-log-append-time"), [(1, 100, 104)]);
    // A wrapper does not say where it begins: not before the end of the batch in front of it.
    let mixed = [(0, 100, 104), (1, 200, 204), (1, 205, 304), (2, 400, 404), (1, 405, 504), (2, 600, 604)];
    assert_eq!(sizes("mixed"), mixed);
}

#[test]
fn c14_every_message_and_wrapper_of_the_old_formats_is_summed() {
    for (name, golden) in goldens().into_iter().filter(|(name, _)| name.starts_with("v0") || name.starts_with("v1")) {
        for at in 0..golden.region.len() {
            let mut changed = golden.region.to_vec();
            changed[at] ^= 0x04;
            let mut scratch = DecodeScratch::default();
            let mut errors = 0;
            for batch in Batches::new(changed.into()) {
                let Ok(batch) = batch else {
                    errors += 1;
                    continue;
                };
                errors += usize::from(batch.check_crc().is_err());
                // As if checksums were off: an error or other records, never a panic, never more than the limit.
                if let Ok(decoded) = batch.decode(&mut scratch, LIMIT) {
                    assert!(decoded.data.len() <= LIMIT);
                    let _ = decoded.check();
                }
            }
            assert!(errors > 0 || is_uncovered(&golden.region, at), "{name}: byte {at} may be changed unnoticed");
        }
    }
}

/// Whether the byte belongs to the offset or length in front of a message, which no checksum covers.
fn is_uncovered(region: &[u8], at: usize) -> bool {
    let mut start = 0;
    while let Some(length) = region.get(start + 8..).and_then(|rest| rest.first_chunk()) {
        if (start..start + 12).contains(&at) {
            return true;
        }
        start += 12 + u32::from_be_bytes(*length) as usize;
    }
    false
}

#[test]
fn c12_a_cut_region_ends_with_its_last_whole_batch() {
    for (name, golden) in goldens() {
        let whole = found(&golden.region);
        for cut in 0..golden.region.len() {
            let region = golden.region.slice(..cut);
            let read = found(&region);
            assert!(read.len() < whole.len(), "{name} cut at {cut}");
            assert_eq!(read[..], whole[..read.len()], "{name} cut at {cut}");
        }
    }
}

#[test]
fn headers_keep_their_order_their_repetitions_and_their_nulls() {
    let batch = first("v2-headers").decode(&mut DecodeScratch::default(), LIMIT).expect("sound");
    let record = batch.records().next().expect("a record").expect("sound");
    let headers: Vec<_> = record.headers().map(|header| (header.name().into_owned(), header.value)).collect();
    let expected: [(&str, Option<&[u8]>); 5] =
        [("same", Some(b"1")), ("same", None), ("", Some(b"")), ("same", Some(b"1")), ("other", Some(b"x"))];
    assert_eq!(headers, expected.map(|(key, value)| (key.to_owned(), value)));
}

#[test]
fn the_delete_horizon_is_the_base_timestamp_and_the_records_keep_theirs() {
    let batch = first("v2-delete-horizon");
    assert_eq!(batch.delete_horizon(), Some(1_500_086_400_000));
    assert_eq!(batch.delete_horizon(), Some(batch.base_timestamp));
    let decoded = batch.decode(&mut DecodeScratch::default(), LIMIT).expect("sound");
    let first_time = decoded.records().next().expect("a record").expect("sound").timestamp;
    assert_eq!(first_time, 1_500_000_000_000, "not the horizon");
    assert_eq!(first("v2-log-append-time").delete_horizon(), None);
}

#[test]
fn markers_say_what_they_are() {
    use milena::record::ControlType;
    for (name, kind, coordinator) in [
        ("v2-abort", ControlType::ABORT, Some(9)),
        ("v2-commit", ControlType::COMMIT, Some(9)),
        ("v2-leader-change", ControlType::LEADER_CHANGE, None),
    ] {
        let batch = first(name);
        let decoded = batch.decode(&mut DecodeScratch::default(), LIMIT).expect("sound");
        let marker = decoded.control().expect("sound").expect("a control batch");
        assert_eq!((marker.kind, marker.coordinator_epoch), (kind, coordinator), "{name}");
    }
    let batch = first("v2-transactional");
    assert!(batch.is_transactional() && !batch.is_control());
    assert_eq!((batch.producer_id, batch.producer_epoch, batch.base_sequence), (7, 3, 11));
    assert_eq!(batch.decode(&mut DecodeScratch::default(), LIMIT).expect("sound").control().expect("sound"), None);
}

#[test]
fn compaction_takes_records_and_leaves_offsets() {
    let mut scratch = DecodeScratch::default();
    for (name, records, next) in [
        ("v2-compacted-empty", vec![], 105),
        ("v2-compacted-tail", vec![101], 105),
        ("v2-gzip-compacted", vec![101, 104], 105),
    ] {
        let batch = first(name);
        let decoded = batch.decode(&mut scratch, LIMIT).expect("sound");
        let offsets: Vec<_> = decoded.records().map(|record| record.expect("sound").offset).collect();
        assert_eq!((offsets, batch.last_offset() + 1, batch.base_offset), (records, next, 100), "{name}");
    }
    assert_eq!(first("v2-compacted-empty").attributes & header::CODEC_MASK, 0, "Kafka's cleaner drops the codec");
}
