use super::*;
use crate::record::{
    BatchBuilder, ChunkPool, Header,
    golden::{self, Row, read},
    header,
};

const LIMIT: usize = 1 << 20;

fn row(offset: i64, timestamp: i64, key: Option<&str>, value: Option<&str>) -> Row {
    let own = |field: Option<&str>| field.map(|text| text.as_bytes().to_vec());
    (offset, timestamp, own(key), own(value))
}

/// The region with a number changed and the checksum of its one batch made right again.
fn patched(hex: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut region = golden::bytes(hex);
    region[at..at + bytes.len()].copy_from_slice(bytes);
    let sum = crc::extend(0, &region[CRC_COVERS..]);
    region[17..21].copy_from_slice(&sum.to_be_bytes());
    region
}

#[test]
fn c13_log_append_time_is_the_time_of_every_record() {
    let time = 0x1a0_85bf_4aa0;
    let expected = [
        row(0, time, None, Some("alpha")),
        row(1, time, Some("key"), Some("bravo")),
        row(2, time, None, Some("charlie")),
    ];
    assert_eq!(read(golden::bytes(golden::LOG_APPEND)).unwrap(), expected);
}

#[test]
fn golden_lz4() {
    let time = 0x1a0_85bf_3f6c;
    let expected = [
        row(0, time, None, Some("alpha")),
        row(1, time + 19, Some("key"), Some("bravo")),
        row(2, time + 19, None, Some("charlie")),
    ];
    assert_eq!(read(golden::bytes(golden::LZ4)).unwrap(), expected);
}

#[test]
fn golden_headers() {
    let raw = Batches::new(golden::bytes(golden::HEADERS).into()).next().unwrap().unwrap();
    let batch = raw.decode(&mut DecodeScratch::default(), LIMIT).unwrap();
    let headers: Vec<Vec<_>> = batch
        .records()
        .map(|record| record.unwrap().headers().map(|header| (header.name(), header.value)).collect())
        .collect();
    let expected: [Vec<(_, Option<&[u8]>)>; 2] = [
        vec![("content-type".into(), Some(b"application/json")), ("trace-id".into(), Some(&[0, 1, 2]))],
        vec![("empty-value".into(), Some(b"")), ("null-value".into(), None)],
    ];
    assert_eq!(headers, expected);
}

#[test]
fn golden_null_and_empty_fields() {
    let time = 1_600_000_000_000;
    let expected = [row(0, time, Some(""), None), row(1, time, None, Some("")), row(2, time, None, None)];
    assert_eq!(read(golden::bytes(golden::NULLABLE)).unwrap(), expected);
}

#[test]
fn golden_transaction() {
    let raw = Batches::new(golden::bytes(golden::TRANSACTION).into()).next().unwrap().unwrap();
    assert!(raw.is_transactional() && !raw.is_control());
    assert_eq!((raw.producer_id, raw.producer_epoch, raw.base_sequence), (2, 1, 0));
    assert_eq!((raw.record_count, raw.last_offset()), (2, 1));
    let control = patched(golden::TRANSACTION, 21, &(header::TRANSACTIONAL | header::CONTROL).to_be_bytes());
    assert!(Batches::new(control.into()).next().unwrap().unwrap().is_control());
}

#[test]
fn golden_three_codecs_in_one_region() {
    let expected = [
        row(0, 0x1a0_85bf_66b3, None, Some("alpha")),
        row(1, 0x1a0_85bf_6cc8, Some("key"), Some("bravo")),
        row(2, 0x1a0_85bf_7291, None, Some("charlie")),
    ];
    assert_eq!(read(golden::bytes(golden::THREE)).unwrap(), expected);
}

#[test]
fn golden_codecs_of_java() {
    let time = 1_600_000_000_000;
    let expected = [
        row(0, time, None, Some("alpha alpha alpha alpha alpha")),
        row(1, time + 7, Some("key"), Some("bravo bravo bravo bravo bravo")),
    ];
    for (hex, codec) in golden::JAVA_CODECS.into_iter().zip(["zstd", "snappy", "gzip"]) {
        let region = Bytes::from(golden::bytes(hex));
        let raw = Batches::new(region.clone()).next().unwrap().unwrap();
        assert_eq!(raw.compression().unwrap().name(), codec);
        assert_eq!(read(region).unwrap(), expected, "{codec}");
    }
}

#[test]
fn golden_format_1_in_front_of_format_2() {
    let mut region = golden::bytes(golden::FORMAT_1);
    region.extend(golden::bytes(golden::NULLABLE));
    let time = 1_600_000_000_000;
    let mut expected = vec![row(0, i64::from_be_bytes([0, 0, 0x01, 0x5a, 0xc2, 0xac, 0xf8, 0]), None, Some("alpha"))];
    expected.extend([row(0, time, Some(""), None), row(1, time, None, Some("")), row(2, time, None, None)]);
    assert_eq!(read(region).unwrap(), expected);
}

#[test]
fn formats_to_come_are_an_error_and_stepped_over() {
    let mut region = patched(golden::NULLABLE, 16, &[3]);
    region.extend(golden::bytes(golden::NULLABLE));
    let mut batches = Batches::new(region.into());
    let error = batches.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    assert_eq!(error.to_string(), "record format 3 is not known");
    assert_eq!(batches.next().unwrap().unwrap().record_count, 3);
    assert!(batches.next().is_none());
}

#[test]
fn c12_a_partial_last_batch_ends_the_region_and_says_its_size() {
    for hex in golden::ALL {
        let whole = golden::bytes(hex);
        let records = read(whole.clone()).unwrap().len();
        let first = Batches::new(whole.clone().into()).next().unwrap().unwrap().size();
        for cut in 0..whole.len() {
            let mut batches = Batches::new(whole[..cut].to_vec().into());
            let read_whole = batches.by_ref().map(|raw| raw.unwrap().size()).sum::<usize>();
            assert_eq!(read_whole + batches.leftover(), cut);
            assert!(read(whole[..cut].to_vec()).unwrap().len() < records);
            if cut < first {
                assert_eq!(batches.cut_batch_len(), (cut >= 12).then_some(first), "{cut} of {first}");
            }
        }
    }
}

#[test]
fn c14_no_changed_byte_panics_and_the_checksum_sees_those_it_covers() {
    let mut scratch = DecodeScratch::default();
    for hex in golden::ALL {
        let whole = golden::bytes(hex);
        for at in 0..whole.len() {
            for change in [0xff, 0x80, 0x01, 0x10] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                let covered = at >= CRC_COVERS && hex != golden::THREE;
                assert!(!covered || read(changed.clone()).is_err(), "byte {at} of {hex}");
                // As if checksums were off: an error or other records, and no more than the limit of them.
                for raw in Batches::new(changed.into()).flatten() {
                    if let Ok(batch) = raw.decode(&mut scratch, LIMIT) {
                        assert!(batch.data.len() <= LIMIT);
                        batch.records().flatten().for_each(|record| record.headers().for_each(drop));
                    }
                }
            }
        }
    }
}

#[test]
fn c14_hostile_lengths_end_the_region() {
    for length in [-1, i32::MIN, 0, 4, 48] {
        let region = patched(golden::NULLABLE, 8, &length.to_be_bytes());
        let mut batches = Batches::new(region.into());
        let error = batches.next().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::CorruptBatch), "{length}: {error}");
        assert!(batches.take(100).count() < 100, "{length}");
    }
    let region = patched(golden::NULLABLE, 8, &i32::MAX.to_be_bytes());
    let mut batches = Batches::new(region.clone().into());
    assert!(batches.next().is_none());
    assert_eq!((batches.leftover(), batches.cut_batch_len()), (region.len(), Some(12 + i32::MAX as usize)));
}

#[test]
fn c14_the_number_of_records_must_match() {
    // Where the count and the last offset are, and records of too small or too great a number.
    for count in [0, 1, 2, 4, i32::MAX, -1, i32::MIN] {
        let mut region = patched(golden::NULLABLE, 57, &i32::to_be_bytes(count));
        region[23..27].copy_from_slice(&i32::MAX.wrapping_sub(1).to_be_bytes());
        let sum = crc::extend(0, &region[CRC_COVERS..]);
        region[17..21].copy_from_slice(&sum.to_be_bytes());
        let error = read(region).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptBatch, "{count}: {error}");
    }
}

#[test]
fn c13_offsets_of_a_compacted_batch_keep_their_gaps() {
    let mut region = patched(golden::LOG_APPEND, 57, &2i32.to_be_bytes());
    // Compaction takes the first record out and leaves base and last offset alone.
    region.drain(61..73);
    region[8..12].copy_from_slice(&(0x5a - 12i32).to_be_bytes());
    region[..8].copy_from_slice(&1000i64.to_be_bytes());
    let sum = crc::extend(0, &region[CRC_COVERS..]);
    region[17..21].copy_from_slice(&sum.to_be_bytes());
    let offsets: Vec<_> = read(region).unwrap().into_iter().map(|(offset, ..)| offset).collect();
    assert_eq!(offsets, [1001, 1002]);
}

#[test]
fn an_offset_outside_of_its_batch_is_damage() {
    let region = patched(golden::NULLABLE, 23, &1i32.to_be_bytes());
    assert!(read(region).is_err(), "three records, two offsets");
    let base = patched(golden::NULLABLE, 0, &i64::MAX.to_be_bytes());
    assert!(read(base).is_err(), "the last offset overflows");
}

#[test]
fn an_emptied_batch_has_no_records_and_keeps_its_offsets() {
    let mut region = patched(golden::LZ4, 57, &0i32.to_be_bytes());
    region.truncate(61);
    region[8..12].copy_from_slice(&49i32.to_be_bytes());
    let raw = Batches::new(region.into()).next().unwrap().unwrap();
    let batch = raw.decode(&mut DecodeScratch::default(), 0).unwrap();
    assert_eq!((batch.records().count(), raw.last_offset()), (0, 2));
}

#[test]
fn uncompressed_records_are_not_copied() {
    let region = Bytes::from(golden::bytes(golden::NULLABLE));
    let raw = Batches::new(region.clone()).next().unwrap().unwrap();
    let batch = raw.decode(&mut DecodeScratch::default(), 0).unwrap();
    assert_eq!(batch.data.as_ptr(), region[61..].as_ptr());
}

#[test]
fn a_buffer_comes_home_when_its_batch_is_dropped() {
    let raw = Batches::new(golden::bytes(golden::LZ4).into()).next().unwrap().unwrap();
    let mut scratch = DecodeScratch::default();
    let first = raw.decode(&mut scratch, LIMIT).unwrap();
    let second = raw.decode(&mut scratch, LIMIT).unwrap();
    assert_ne!(first.data.as_ptr(), second.data.as_ptr());
    assert_eq!(first.data, second.data);
    let home = second.data.as_ptr();
    drop(second);
    assert_eq!(raw.decode(&mut scratch, LIMIT).unwrap().data.as_ptr(), home);
}

#[test]
fn a_record_is_found_again_by_its_position() {
    let raw = Batches::new(golden::bytes(golden::HEADERS).into()).next().unwrap().unwrap();
    let batch = raw.decode(&mut DecodeScratch::default(), LIMIT).unwrap();
    let mut records = batch.records();
    let mut position = records.byte_position();
    while let Some(record) = records.next() {
        assert_eq!(batch.record_at(position), Some(record.unwrap()));
        position = records.byte_position();
    }
    assert_eq!(batch.record_at(position), None);
    assert_eq!(batch.record_at(usize::MAX), None);
}

#[test]
fn random_records_come_back_through_every_codec() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut scratch = DecodeScratch::default();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"].map(|name| name.parse::<Compression>().unwrap()) {
        for _ in 0..20 {
            let written = random_rows(&mut random);
            let region = write(&written, codec);
            let raw = Batches::new(region).next().unwrap().unwrap();
            raw.check_crc().unwrap();
            let batch = raw.decode(&mut scratch, 64 << 20).unwrap();
            batch.check().unwrap();
            for (index, (record, expected)) in batch.records().zip(&written).enumerate() {
                let record = record.unwrap();
                assert_eq!(record.offset, index as i64);
                assert_eq!(record.timestamp, expected.timestamp);
                assert_eq!(record.key, expected.key.as_deref());
                assert_eq!(record.value, expected.value.as_deref());
                let headers: Vec<_> = record.headers().map(|header| (header.name(), header.value)).collect();
                let expected = expected.headers.iter().map(|(key, value)| (key.into(), value.as_deref()));
                assert_eq!(headers, expected.collect::<Vec<_>>());
            }
            assert_eq!(batch.records().count(), written.len());
        }
    }
}

struct Written {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn random_rows(random: &mut fastrand::Rng) -> Vec<Written> {
    let longest = *random.choice(&[0, 10, 100, 1000, 100_000]).unwrap_or(&0);
    let count = 1 + random.usize(..2_000_000 / (longest + 1000));
    let bytes = |random: &mut fastrand::Rng, longest: usize| {
        let (length, letters) = (random.usize(..=longest), random.u8(1..=255));
        random.bool().then(|| (0..length).map(|_| random.u8(..letters)).collect::<Vec<_>>())
    };
    let headers = |random: &mut fastrand::Rng| {
        let count = if random.u8(..4) == 0 { random.usize(..4) } else { 0 };
        (0..count).map(|_| (format!("name-{}", random.u8(..3)), bytes(random, 30))).collect()
    };
    let row = |random: &mut fastrand::Rng| Written {
        timestamp: 1_700_000_000_000 + random.i64(-100_000..100_000),
        key: bytes(random, 20),
        value: bytes(random, longest),
        headers: headers(random),
    };
    (0..count).map(|_| row(random)).collect()
}

fn write(rows: &[Written], codec: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(&ChunkPool::default());
    for Written { timestamp, key, value, headers } in rows {
        let headers: Vec<_> = headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers).unwrap();
    }
    let sealed = builder.seal().compress(codec, None);
    sealed.pieces(sealed.stamp(1, 2, 3)).concat().into()
}
