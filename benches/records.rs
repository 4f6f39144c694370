//! What a record costs: appended, walked, summed and compressed. One batch is near the default size of a mebibyte.
//!
//! Goals for records of 100 bytes: 25 ns to append, 8 ns to walk.

use std::{hint::black_box, time::Duration};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use milena::record::{BatchBuilder, Batches, ChunkPool, Compression, DecodeScratch, RawBatch, SealedBatch};

const BATCH: usize = 1_000_000;
const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Half words, half digits: compresses about as web events do.
fn payloads(length: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(42);
    let words = ["customer", "order", "created", "shipped", "price", "eu-west-1", "item"];
    let payload = |random: &mut fastrand::Rng| {
        let mut payload = Vec::new();
        while payload.len() < length {
            payload.extend_from_slice(words[random.usize(..words.len())].as_bytes());
            payload.extend_from_slice(format!("\":\"{:x}\",\"", random.u32(..)).as_bytes());
        }
        payload.truncate(length);
        payload
    };
    (0..4096).map(|_| payload(&mut random)).collect()
}

fn sealed(pool: &ChunkPool, payloads: &[Vec<u8>]) -> SealedBatch {
    let mut builder = BatchBuilder::new(pool);
    for (index, payload) in payloads.iter().cycle().enumerate() {
        let timestamp = 1_700_000_000_000 + index as i64 / 100;
        if builder.append_within(BATCH, timestamp, None, Some(payload), &[]).is_err() {
            break;
        }
    }
    builder.seal()
}

fn region(batch: &SealedBatch) -> Bytes {
    batch.pieces(batch.stamp(1, 0, 0)).concat().into()
}

fn first(region: Bytes) -> RawBatch {
    Batches::new(region).next().expect("one batch").expect("whole")
}

fn records(c: &mut Criterion) {
    for length in [100, 1024] {
        let payloads = payloads(length);
        let pool = ChunkPool::default();
        let batch = sealed(&pool, &payloads);
        let count = batch.record_count as u64;
        let region = region(&batch);
        let mut group = c.benchmark_group(format!("{length} B"));
        group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).sample_size(30);
        group.throughput(Throughput::Elements(count));
        group.bench_function("append and seal", |b| b.iter(|| black_box(sealed(&pool, &payloads))));
        let raw = first(region.clone());
        let decoded = raw.decode(&mut DecodeScratch::default(), 0).expect("whole");
        group.bench_function("walk", |b| {
            b.iter(|| {
                let lengths = decoded.records().map(|record| record.map_or(0, |r| r.value.map_or(0, <[u8]>::len)));
                black_box(lengths.sum::<usize>())
            });
        });
        group.throughput(Throughput::Bytes(region.len() as u64));
        group.bench_function("stamp", |b| b.iter(|| black_box(batch.stamp(1, 0, 0))));
        group.bench_function("check the checksum", |b| b.iter(|| raw.check_crc().is_ok()));
        for codec in CODECS {
            let compressed = batch.clone().compress(codec, None);
            println!("{length} B {codec}: 1/{:.2}", region.len() as f64 / compressed.wire_len() as f64);
            group.bench_function(format!("{codec} compress"), |b| b.iter(|| batch.clone().compress(codec, None)));
            let raw = first(self::region(&compressed));
            let mut scratch = DecodeScratch::default();
            group.bench_function(format!("{codec} decompress"), |b| {
                b.iter(|| raw.decode(&mut scratch, 1 << 30).map(|batch| batch.data.len()).ok());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, records);
criterion_main!(benches);
