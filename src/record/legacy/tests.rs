use std::io::Write;

use super::*;
use crate::{
    error::ErrorKind,
    record::{
        Batches,
        golden::{Row, read},
    },
};

const LIMIT: usize = 1 << 20;
const GZIP: u8 = 1;
const SNAPPY: u8 = 2;
const LOG_APPEND: u8 = 8;

type Ends = (i64, i64);

struct Message<'a> {
    offset: i64,
    magic: u8,
    attributes: u8,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

fn plain(magic: u8, offset: i64) -> Message<'static> {
    Message { offset, magic, attributes: 0, timestamp: 1000 + offset, key: None, value: Some(b"value") }
}

fn wrapper(magic: u8, offset: i64, codec: u8, compressed: &[u8]) -> Vec<u8> {
    Message { attributes: codec, value: Some(compressed), ..plain(magic, offset) }.bytes()
}

impl Message<'_> {
    fn bytes(&self) -> Vec<u8> {
        let field = |field: Option<&[u8]>| {
            let length = field.map_or(-1, |bytes| bytes.len() as i32);
            [&length.to_be_bytes(), field.unwrap_or_default()].concat()
        };
        let mut covered = vec![self.magic, self.attributes];
        if self.magic == 1 {
            covered.extend(self.timestamp.to_be_bytes());
        }
        covered.extend(field(self.key));
        covered.extend(field(self.value));
        let length = 4 + covered.len() as i32;
        [&self.offset.to_be_bytes()[..], &length.to_be_bytes(), &crc::ieee(&covered).to_be_bytes(), &covered].concat()
    }
}

fn plains(magic: u8, offsets: &[i64]) -> Vec<u8> {
    offsets.iter().flat_map(|offset| plain(magic, *offset).bytes()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn offsets(region: Vec<u8>) -> Vec<i64> {
    read(region).unwrap().into_iter().map(|(offset, ..)| offset).collect()
}

/// First and last offset of every batch of a region.
fn spans(region: &[Vec<u8>]) -> Vec<Ends> {
    let batches = Batches::new(region.concat().into()).map(Result::unwrap);
    batches.map(|batch| (batch.base_offset, batch.last_offset())).collect()
}

#[test]
fn offsets_in_a_wrapper_are_relative_in_format_1_and_real_in_format_0() {
    assert_eq!(offsets(wrapper(1, 1009, GZIP, &gzip(&plains(1, &[0, 3, 4])))), [1005, 1008, 1009]);
    // Only differences count: compaction may have removed the first ones.
    assert_eq!(offsets(wrapper(1, 1009, SNAPPY, &snappy(&plains(1, &[7, 8])))), [1008, 1009]);
    assert_eq!(offsets(wrapper(0, 1009, GZIP, &gzip(&plains(0, &[1001, 1005, 1009])))), [1001, 1005, 1009]);
    // The last one was removed, and the wrapper kept its offset.
    let region = wrapper(0, 1009, GZIP, &gzip(&plains(0, &[1001])));
    assert_eq!(spans(std::slice::from_ref(&region)), [(0, 1009)]);
    assert_eq!(offsets(region), [1001]);
}

#[test]
fn log_append_time_on_a_wrapper_is_the_time_of_all_within() {
    let inner = gzip(&plains(1, &[0, 1]));
    let times = |attributes| {
        let message = Message { attributes, timestamp: 77, value: Some(&inner), ..plain(1, 10) };
        read(message.bytes()).unwrap().into_iter().map(|(_, timestamp, ..)| timestamp).collect::<Vec<_>>()
    };
    assert_eq!(times(GZIP), [1000, 1001]);
    assert_eq!(times(GZIP | LOG_APPEND), [77, 77]);
    let inner = gzip(&plains(0, &[9, 10]));
    let old = Message { attributes: GZIP | LOG_APPEND, value: Some(&inner), ..plain(0, 10) };
    assert!(read(old.bytes()).unwrap().iter().all(|row| row.1 == -1), "format 0 has no time and no such bit");
}

#[test]
fn a_run_ends_where_one_header_cannot_speak_for_the_next_message() {
    let of = |attributes, timestamp, offset| Message { attributes, timestamp, ..plain(1, offset) }.bytes();
    let large = vec![0; 40_000];
    let large = |offset| Message { value: Some(&large), ..plain(1, offset) }.bytes();
    type Case<'a> = (&'a str, Vec<Vec<u8>>, &'a [Ends]);
    let cases: [Case<'_>; 8] = [
        ("ascending with a gap", vec![plains(1, &[5, 6, 9])], &[(5, 9)]),
        ("another format", vec![plains(0, &[5, 6]), plains(1, &[7, 8])], &[(5, 6), (7, 8)]),
        ("not ascending", vec![plains(1, &[5, 6, 6, 7])], &[(5, 6), (6, 7)]),
        (
            "farther than a record can say",
            vec![plains(1, &[5, 5 + i32::MAX as i64, 6 + i32::MAX as i64])],
            &[(5, 5 + i32::MAX as i64), (6 + i32::MAX as i64, 6 + i32::MAX as i64)],
        ),
        ("append times", vec![of(8, 7, 1), of(8, 7, 2), of(8, 8, 3)], &[(1, 2), (3, 3)]),
        ("who set the time", vec![of(8, 7, 1), of(0, 7, 2)], &[(1, 1), (2, 2)]),
        ("size", vec![large(1), large(2), large(3)], &[(1, 1), (2, 2), (3, 3)]),
        (
            "a wrapper",
            vec![plains(1, &[5]), wrapper(1, 9, GZIP, &gzip(&plains(1, &[0]))), plains(1, &[10])],
            &[(5, 5), (6, 9), (10, 10)],
        ),
    ];
    for (why, region, expected) in cases {
        assert_eq!(spans(&region), expected, "{why}");
        let parts: usize = region.iter().map(|part| read(part.clone()).unwrap().len()).sum();
        assert_eq!(read(region.concat()).unwrap().len(), parts, "{why}");
    }
}

#[test]
fn extreme_timestamps_come_back() {
    for (first, second) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (-1, i64::MAX)] {
        let message = |offset, timestamp| Message { timestamp, ..plain(1, offset) }.bytes();
        let rows = read([message(1, first), message(2, second)].concat()).unwrap();
        assert_eq!((rows[0].1, rows[1].1), (first, second));
    }
}

#[test]
fn what_a_wrapper_must_not_hold() {
    let inner = plains(1, &[0, 1]);
    let cut = &inner[..inner.len() - 1];
    let nested = wrapper(1, 0, GZIP, &gzip(&plains(1, &[0])));
    let cases: [(&str, Vec<u8>); 12] = [
        ("a wrapper lies inside", wrapper(1, 9, GZIP, &gzip(&nested))),
        ("a wrapper lies inside", wrapper(1, 9, GZIP, &gzip(&[inner.clone(), nested].concat()))),
        ("another format", wrapper(1, 9, GZIP, &gzip(&plains(0, &[0, 1])))),
        ("zstd is not for format 1", wrapper(1, 9, 4, b"\x28\xb5\x2f\xfd")),
        ("codec 5 is not known", wrapper(0, 9, 5, b"")),
        ("holds no message", wrapper(1, 9, GZIP, &gzip(b""))),
        ("has no value", Message { attributes: GZIP, value: None, ..plain(1, 9) }.bytes()),
        ("cut off", wrapper(1, 9, GZIP, &gzip(cut))),
        ("do not ascend", wrapper(1, 9, GZIP, &gzip(&plains(1, &[0, 0])))),
        ("out of range", wrapper(1, 3, GZIP, &gzip(&plains(1, &[0, 4])))),
        ("out of range", wrapper(0, 3, GZIP, &gzip(&plains(0, &[3, 4])))),
        ("do not ascend", wrapper(1, 9, GZIP, &gzip(&plains(1, &[-5, 4])))),
    ];
    for (why, region) in cases {
        let error = read(region).expect_err(why);
        assert_eq!(error.kind(), ErrorKind::CorruptBatch, "{why}");
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
}

#[test]
fn c14_a_wrapper_is_bounded_by_the_limit() {
    let value = vec![0; LIMIT];
    let inner = Message { value: Some(&value), ..plain(1, 0) }.bytes();
    for (codec, compressed) in [(GZIP, gzip(&inner)), (SNAPPY, snappy(&inner))] {
        let error = read(wrapper(1, 0, codec, &compressed)).unwrap_err();
        assert!(error.to_string().contains("limit of 1048576"), "{error}");
    }
    let small = gzip(&inner[..100]).repeat(20_000);
    assert!(read(wrapper(1, 0, GZIP, &small)).unwrap_err().to_string().contains("limit of 1048576"), "many members");
}

#[test]
fn c14_damage_is_told_where_it_is_and_stepped_over() {
    let whole = plains(1, &[4, 5, 6]);
    let size = whole.len() / 3;
    let mut changed = whole.clone();
    changed[size + 30] ^= 1;
    let error = read(changed).unwrap_err().to_string();
    assert!(error.contains("the message at offset 5"), "{error}");
    // A length that leaves no room for the message's own numbers.
    let mut short = plains(1, &[4, 5]);
    short[8..12].copy_from_slice(&10i32.to_be_bytes());
    short.drain(22..size);
    let mut batches = Batches::new(short.into());
    let error = batches.next().unwrap().unwrap_err().to_string();
    assert_eq!(error, "the message at offset 4 (length 10) is damaged: it is too short");
    assert_eq!(batches.next().unwrap().unwrap().base_offset, 5);
    let error = read(plains(0, &[-1])).unwrap_err().to_string();
    assert!(error.contains("its offset is negative"), "{error}");
}

#[test]
fn c14_lengths_of_key_and_value_must_fill_the_message() {
    for magic in [0, 1] {
        let whole = Message { key: Some(b"key"), ..plain(magic, 4) }.bytes();
        let at = shortest(magic) - 2 * LENGTH;
        for length in [-1, 0, 2, 4, 100, i32::MAX, i32::MIN] {
            let mut changed = whole.clone();
            changed[at..at + 4].copy_from_slice(&length.to_be_bytes());
            let sum = crc::ieee(&changed[16..]);
            changed[12..16].copy_from_slice(&sum.to_be_bytes());
            assert!(read(changed).is_err(), "{length}");
        }
    }
}

#[test]
fn random_messages_come_back_and_never_grow() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        let (magic, codec) = (random.u8(..2), random.u8(..3));
        let longest = *random.choice(&[1, 100, 20_000]).unwrap();
        let mut field = || random.bool().then(|| vec![7; random.usize(..longest)]);
        let fields: Vec<_> = (0..20).map(|_| (field(), field())).collect();
        let mut offset = random.i64(0..1 << 40);
        let mut rows: Vec<Row> = Vec::new();
        for (key, value) in fields {
            let timestamp = if magic == 0 { -1 } else { random.i64(..) };
            rows.push((offset, timestamp, key, value));
            offset += 1 + random.i64(0..1000);
        }
        let first = if codec != 0 && magic == 1 { rows[0].0 - random.i64(0..=rows[0].0.min(9)) } else { 0 };
        let message = |row: &Row| {
            let (key, value) = (row.2.as_deref(), row.3.as_deref());
            Message { offset: row.0 - first, magic, attributes: 0, timestamp: row.1, key, value }.bytes()
        };
        let inner = rows.iter().map(message).collect::<Vec<_>>().concat();
        let last = rows.last().unwrap().0;
        let region = match codec {
            GZIP => wrapper(magic, last, GZIP, &gzip(&inner)),
            SNAPPY => wrapper(magic, last, SNAPPY, &snappy(&inner)),
            _ => inner.clone(),
        };
        assert_eq!(read(region.clone()).unwrap(), rows);
        let decoded = Batches::new(region.into()).map(|raw| raw.unwrap().decode(&mut DecodeScratch::default(), LIMIT));
        assert!(decoded.map(|batch| batch.unwrap().data.len()).sum::<usize>() <= inner.len());
    }
}
