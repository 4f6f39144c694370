//! What a record costs: appended, walked, summed and compressed. One batch is near the default size of a mebibyte.
//!
//! Goals for records of 100 bytes: 25 ns to append, 8 ns to walk; 10 GB/s to sum; compressors within 5 % of the crate
//! they call. Beside ours stand `kafka-protocol`, which shares no line with us, and each compressor's crate on the same
//! bytes. Those pairs take turns and the fastest of each counts, because a machine that others use is never the same
//! for longer than a moment; criterion tells the rest.

use std::{
    hint::black_box,
    io::Read,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::{
    indexmap::IndexMap,
    records::{
        Compression as TheirCompression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
        TimestampType,
    },
};
use milena::record::{BatchBuilder, Batches, ChunkPool, Compression, DecodeScratch, RawBatch, SealedBatch};

const BATCH: usize = 1_000_000;
const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
/// Turns that each side of a pair takes.
const TURNS: usize = 60;

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
        payload.shrink_to_fit();
        payload
    };
    (0..4096).map(|_| payload(&mut random)).collect()
}

fn timestamp(index: usize) -> i64 {
    1_700_000_000_000 + index as i64 / 100
}

fn sealed(pool: &ChunkPool, payloads: &[Vec<u8>]) -> SealedBatch {
    let mut builder = BatchBuilder::new(pool);
    for (index, payload) in payloads.iter().cycle().enumerate() {
        if builder.append_within(BATCH, timestamp(index), None, Some(payload), &[]).is_err() {
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
        let region = region(&batch);
        alone(length, &payloads, &batch);
        beside_kafka_protocol(length, &payloads, batch.record_count as usize);
        for codec in CODECS {
            beside_its_crate(length, codec, &batch);
        }
        let mut group = c.benchmark_group(format!("{length} B"));
        group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300)).sample_size(20);
        group.throughput(Throughput::Elements(batch.record_count as u64));
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
        group.finish();
    }
}

/// Append, walk and sum by their fastest turn.
fn alone(length: usize, payloads: &[Vec<u8>], batch: &SealedBatch) {
    let pool = ChunkPool::default();
    let region = region(batch);
    let raw = first(region.clone());
    let decoded = raw.decode(&mut DecodeScratch::default(), 0).expect("whole");
    let append = || sealed(&pool, payloads).body().len();
    let walk = || decoded.records().map(|record| record.map_or(0, |it| it.value.map_or(0, <[u8]>::len))).sum();
    // One after the other: a batch is walked right after its checksum, which has brought it into the cache.
    let [append, _] = take_turns(append, || 0);
    let [walk, _] = take_turns(walk, || 0);
    let [stamp, _] = take_turns(|| batch.stamp(1, 0, 0).len(), || 0);
    let [check, _] = take_turns(|| raw.check_crc().map_or(0, |()| 1), || 0);
    let per_record = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(batch.record_count);
    let gigabytes = |time: Duration| region.len() as f64 / time.as_secs_f64() / 1e9;
    println!("{length} B: append and seal {:.2} ns/record, walk {:.2} ns/record", per_record(append), per_record(walk));
    println!("{length} B: stamp {:.1} GB/s, check the checksum {:.1} GB/s", gigabytes(stamp), gigabytes(check));
}

/// The least time of either, taking turns.
fn take_turns(mut ours: impl FnMut() -> usize, mut theirs: impl FnMut() -> usize) -> [Duration; 2] {
    let mut least = [Duration::MAX; 2];
    for _ in 0..TURNS {
        let turns: [&mut dyn FnMut() -> usize; 2] = [&mut ours, &mut theirs];
        for (least, turn) in least.iter_mut().zip(turns) {
            let begin = Instant::now();
            black_box(turn());
            *least = begin.elapsed().min(*least);
        }
    }
    least
}

fn tell(what: &str, unit: &str, of: f64, [ours, theirs]: [Duration; 2]) {
    let per = |time: Duration| time.as_secs_f64() * 1e9 / of;
    let (ours, theirs) = (per(ours), per(theirs));
    println!("{what:<44} ours {ours:>8.3} {unit}, theirs {theirs:>8.3} {unit}, ours / theirs {:.3}", ours / theirs);
}

fn beside_kafka_protocol(length: usize, payloads: &[Vec<u8>], count: usize) {
    let pool = ChunkPool::default();
    let records: Vec<_> =
        payloads.iter().cycle().take(count).enumerate().map(|(index, it)| theirs(index, it)).collect();
    let options = RecordEncodeOptions { version: 2, compression: TheirCompression::None };
    let mut out = BytesMut::with_capacity(2 * BATCH);
    let encode = || {
        out.clear();
        RecordBatchEncoder::encode(&mut out, &records, &options).expect("their encoder");
        out.len()
    };
    let ours = || {
        let mut builder = BatchBuilder::new(&pool);
        for record in &records {
            builder.append(record.timestamp, None, record.value.as_deref(), &[]).expect("room");
        }
        let batch = builder.seal();
        batch.pieces(batch.stamp(1, 0, 0)).len()
    };
    tell(&format!("{length} B: encode, checksum included"), "ns/record", count as f64, take_turns(ours, encode));

    let region = region(&sealed(&pool, payloads));
    let mut scratch = DecodeScratch::default();
    let ours = || {
        let raw = first(region.clone());
        raw.check_crc().expect("whole");
        let batch = raw.decode(&mut scratch, 0).expect("whole");
        batch.records().map(|record| record.map_or(0, |it| it.value.map_or(0, <[u8]>::len))).sum()
    };
    let decode = || {
        let set = RecordBatchDecoder::decode(&mut region.clone()).expect("our batch");
        set.records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len)).sum()
    };
    tell(&format!("{length} B: decode, checksum included"), "ns/record", count as f64, take_turns(ours, decode));
}

fn theirs(index: usize, payload: &[u8]) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: 1,
        producer_epoch: 0,
        timestamp_type: TimestampType::Creation,
        offset: index as i64,
        sequence: index as i32,
        timestamp: timestamp(index),
        key: None,
        value: Some(Bytes::copy_from_slice(payload)),
        headers: IndexMap::new(),
    }
}

fn beside_its_crate(length: usize, codec: Compression, batch: &SealedBatch) {
    let whole: Vec<u8> = batch.body().concat();
    let mut bare = Bare::new(codec, &whole);
    let compressed = batch.clone().compress(codec, None);
    let ratio = whole.len() as f64 / compressed.body_len() as f64;
    let ours = || batch.clone().compress(codec, None).body_len();
    let times = take_turns(ours, || bare.compress(&whole));
    tell(&format!("{length} B: {codec} compress, to 1/{ratio:.2}"), "ns/B", whole.len() as f64, times);

    let raw = first(region(&compressed));
    let mut scratch = DecodeScratch::default();
    let ours = || raw.decode(&mut scratch, 1 << 30).map_or(0, |batch| batch.data.len());
    assert_eq!(bare.decompress(), whole.len());
    let times = take_turns(ours, || bare.decompress());
    tell(&format!("{length} B: {codec} decompress"), "ns/B", whole.len() as f64, times);
}

/// A compressor's crate used as well as its API allows: contexts and buffers kept, whole blocks, no framing.
struct Bare {
    codec: Compression,
    /// The compressed blocks, or the one stream.
    blocks: Vec<Vec<u8>>,
    output: Vec<u8>,
    gzip: flate2::Compress,
    snappy: snap::raw::Encoder,
    lz4: lz4_flex::block::CompressTable,
    zstd: rust_zstd::Compressor,
    unzstd: rust_zstd::Decompressor,
}

impl Bare {
    fn new(codec: Compression, whole: &[u8]) -> Self {
        let mut bare = Self {
            codec,
            blocks: Vec::new(),
            output: vec![0; 2 * whole.len()],
            gzip: flate2::Compress::new(flate2::Compression::new(6), false),
            snappy: snap::raw::Encoder::new(),
            lz4: lz4_flex::block::CompressTable::large(),
            zstd: rust_zstd::Compressor::new(rust_zstd::CompressOptions { level: 3, ..Default::default() }),
            unzstd: rust_zstd::Decompressor::new(),
        };
        let step = bare.block().min(whole.len());
        let length = |bare: &mut Self, block: &[u8]| bare.compress_block(block);
        for block in whole.chunks(step) {
            let end = length(&mut bare, block);
            bare.blocks.push(bare.output[..end].to_vec());
        }
        bare
    }

    /// The bytes that are compressed at once.
    fn block(&self) -> usize {
        match self.codec {
            Compression::Snappy => 32 * 1024,
            Compression::Lz4 => 64 * 1024,
            _ => usize::MAX,
        }
    }

    fn compress(&mut self, whole: &[u8]) -> usize {
        let step = self.block().min(whole.len());
        whole.chunks(step).map(|block| self.compress_block(block)).sum()
    }

    fn compress_block(&mut self, block: &[u8]) -> usize {
        match self.codec {
            Compression::None => 0,
            Compression::Gzip => {
                // As a gzip member: with the checksum of the input.
                let mut crc = flate2::Crc::new();
                crc.update(block);
                black_box(crc.sum());
                self.gzip.reset();
                self.gzip.compress(block, &mut self.output[10..], flate2::FlushCompress::Finish).expect("room");
                let end = 10 + self.gzip.total_out() as usize;
                self.output[..10].copy_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
                self.output[end..end + 4].copy_from_slice(&crc.sum().to_le_bytes());
                self.output[end + 4..end + 8].copy_from_slice(&(block.len() as u32).to_le_bytes());
                end + 8
            }
            Compression::Snappy => self.snappy.compress(block, &mut self.output).expect("room"),
            Compression::Lz4 => {
                lz4_flex::block::compress_into_with_table(block, &mut self.output, &mut self.lz4).expect("room")
            }
            Compression::Zstd => {
                self.output.clear();
                self.zstd.compress(block, &mut self.output);
                self.output.len()
            }
        }
    }

    fn decompress(&mut self) -> usize {
        // zstd wrote with `clear`, the others need the length.
        let capacity = self.output.capacity();
        if self.output.len() < capacity {
            self.output.resize(capacity, 0);
        }
        let mut at = 0;
        for block in &self.blocks {
            let room = &mut self.output[at..];
            at += match self.codec {
                Compression::None => 0,
                Compression::Gzip => {
                    let mut members = flate2::bufread::MultiGzDecoder::new(block.as_slice());
                    let mut end = 0;
                    loop {
                        match members.read(&mut room[end..]).expect("whole") {
                            0 => break end,
                            read => end += read,
                        }
                    }
                }
                Compression::Snappy => snap::raw::Decoder::new().decompress(block, room).expect("whole"),
                Compression::Lz4 => lz4_flex::block::decompress_into(block, room).expect("whole"),
                Compression::Zstd => {
                    self.unzstd.reset();
                    let (mut read, mut written) = (0, 0);
                    while read < block.len() || self.unzstd.finish().is_err() {
                        self.unzstd.decompress_stream(block, &mut read, room, &mut written).expect("whole");
                    }
                    written
                }
            };
        }
        at
    }
}

criterion_group!(benches, records);
criterion_main!(benches);
