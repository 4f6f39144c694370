//! Our record batches against the codec of `kafka-protocol`, which shares no line with ours.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    protocol::StrBytes,
    records::{
        Compression as TheirCompression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
        TimestampType,
    },
};
use milena::record::{BatchBuilder, Batches, ChunkPool, DecodeScratch, Header};

const ROUNDS: usize = 200;

fn random_records(random: &mut fastrand::Rng) -> Vec<Record> {
    let longest = if random.u8(..10) == 0 { 50_000 } else { 200 };
    let field = |random: &mut fastrand::Rng| {
        let length = random.usize(..longest);
        (random.u8(..4) != 0).then(|| (0..length).map(|_| random.u8(..)).collect::<Bytes>())
    };
    let base = random.i64(0..2_000_000_000_000);
    (0..random.i64(1..100))
        .map(|offset| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: 7,
            producer_epoch: 3,
            timestamp_type: TimestampType::Creation,
            offset,
            sequence: 11 + offset as i32,
            timestamp: base + random.i64(-70_000..70_000),
            key: field(random),
            value: field(random),
            // Their headers are a map: names that repeat are not theirs to keep.
            headers: (0..random.u8(..3))
                .map(|number| (StrBytes::from(format!("header-{number}")), field(random)))
                .collect::<IndexMap<_, _>>(),
        })
        .collect()
}

fn ours(records: &[Record]) -> Bytes {
    let mut builder = BatchBuilder::new(&ChunkPool::default());
    for record in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers).expect("room");
    }
    let sealed = builder.seal();
    sealed.pieces(sealed.stamp(7, 3, 11)).concat().into()
}

fn theirs(records: &[Record]) -> Bytes {
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: TheirCompression::None };
    RecordBatchEncoder::encode(&mut out, records, &options).expect("their encoder");
    out.freeze()
}

fn compare(records: &[Record], region: Bytes) {
    let mut expected = records.iter();
    let mut scratch = DecodeScratch::default();
    for raw in Batches::new(region) {
        let raw = raw.expect("a whole batch");
        raw.check_crc().expect("the checksum");
        assert_eq!((raw.producer_id, raw.producer_epoch), (7, 3));
        let batch = raw.decode(&mut scratch, 0).expect("not compressed");
        for record in batch.records() {
            let (record, expected) = (record.expect("whole"), expected.next().expect("no more records"));
            assert_eq!((record.offset, record.timestamp), (expected.offset, expected.timestamp));
            assert_eq!((record.key, record.value), (expected.key.as_deref(), expected.value.as_deref()));
            let headers: Vec<_> = record.headers().map(|header| (header.name().into_owned(), header.value)).collect();
            let expected = expected.headers.iter().map(|(key, value)| (key.to_string(), value.as_deref()));
            assert_eq!(headers, expected.collect::<Vec<_>>());
        }
    }
    assert!(expected.next().is_none(), "records are missing");
}

#[test]
fn they_read_what_we_write() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..ROUNDS {
        let records = random_records(&mut random);
        let mut region = ours(&records);
        let read = RecordBatchDecoder::decode(&mut region).expect("our batch");
        assert_eq!(read.version, 2);
        assert_eq!(read.records, records);
    }
}

#[test]
fn we_read_what_they_write() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..ROUNDS {
        let records = random_records(&mut random);
        compare(&records, theirs(&records));
        compare(&records, ours(&records));
    }
}
