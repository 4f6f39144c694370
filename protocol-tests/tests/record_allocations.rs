//! What building and reading batches takes from the allocator: nothing per record, and no more than the limit for
//! batches that are made to explode.

mod counting;

use std::hint::black_box;

use bytes::Bytes;
use counting::counted;
use milena::record::{BatchBuilder, Batches, ChunkPool, Compression, DecodeScratch, SealedBatch};

const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn filled(pool: &ChunkPool, records: usize, value: &[u8]) -> SealedBatch {
    let mut builder = BatchBuilder::new(pool);
    for timestamp in 0..records {
        builder.append(timestamp as i64, Some(b"key"), Some(value), &[]).expect("room");
    }
    builder.seal()
}

fn decode(region: Bytes, scratch: &mut DecodeScratch, limit: usize) -> milena::Result<usize> {
    let batch = Batches::new(region).next().expect("a batch")?;
    batch.check_crc()?;
    Ok(batch.decode(scratch, limit)?.records().flatten().map(|record| record.value.map_or(0, <[u8]>::len)).sum())
}

fn region(batch: &SealedBatch) -> Bytes {
    batch.pieces(batch.stamp(-1, -1, -1)).concat().into()
}

#[test]
fn appending_allocates_nothing_per_record() {
    let pool = ChunkPool::new(64 << 20);
    drop(filled(&pool, 10_000, &[7; 100]));
    let mut builder = BatchBuilder::new(&pool);
    let (allocations, _) = counted(|| {
        for timestamp in 0..9000 {
            builder.append(timestamp, None, Some(&[7; 100]), &[]).expect("room");
        }
    });
    // The list of the 30 chunks grows by doubling; the chunks themselves are recycled.
    assert!(allocations <= 5, "{allocations} allocations for 9000 records");
    let (allocations, _) = counted(|| black_box(builder.seal()));
    assert!(allocations <= 40, "{allocations} allocations for sealing about 30 chunks");
}

#[test]
fn walking_allocates_nothing() {
    for codec in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let region = region(&filled(&ChunkPool::default(), 5000, &[7; 100]).compress(codec, None));
        let mut scratch = DecodeScratch::default();
        let read = || decode(region.clone(), &mut scratch, 1 << 30);
        let mut read = read;
        assert_eq!(read().expect("whole"), 500_000);
        let (allocations, _) = counted(|| read().expect("whole"));
        assert!(allocations <= 8, "{codec}: {allocations} allocations for 5000 records");
    }
}

#[test]
fn c14_bombs_stop_at_the_limit_with_bounded_memory() {
    let pool = ChunkPool::default();
    let plain = filled(&pool, 16, &vec![0; 4 << 20]);
    for codec in CODECS {
        let mut bomb = plain.clone().compress(codec, None);
        assert_eq!(bomb.attributes, codec.id());
        let small = region(&bomb);
        // Several gzip members, zstd and LZ4 frames, and snappy streams with a header each.
        bomb.set_body([bomb.body(); 4].concat());
        for region in [small, region(&bomb)] {
            refused(region, codec, &[LIMIT, 16 * LIMIT]);
        }
    }
}

#[test]
fn c14_a_zstd_frame_with_the_largest_window_takes_no_more_than_it_holds() {
    // 128 MiB of window, 1000 blocks of one byte repeated 128 KiB times.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3];
    for _ in 0..1000 {
        frame.extend_from_slice(&((128u32 << 10) << 3 | 1 << 1).to_le_bytes()[..3]);
        frame.push(0);
    }
    let mut bomb = filled(&ChunkPool::default(), 1, b"");
    bomb.set_body(vec![frame.into()]);
    bomb.attributes = Compression::Zstd.id();
    let region = region(&bomb);
    for limit in [LIMIT, 16 * LIMIT, 64 * LIMIT] {
        let mut scratch = DecodeScratch::default();
        let mut peak = || counted(|| decode(region.clone(), &mut scratch, limit).expect_err("over the limit")).1;
        let (first, second) = (peak(), peak());
        println!("window of 128 MiB: peaks {first} and {second} bytes for a limit of {limit}");
        assert!(first <= 3 * limit + slack(Compression::Zstd), "{first} bytes for a limit of {limit}");
        assert!(limit < 8 << 20 || second > 2 * limit, "what such a frame took is given back, and taken again");
    }
}

#[test]
fn c14_bombs_in_wrappers_of_old_formats_stop_at_the_limit_with_bounded_memory() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4] {
        let bomb = wrapper(codec, LIMIT + 1);
        for region in
            [bomb.clone(), wrapper_of(codec, &[compressed(codec, LIMIT / 2), compressed(codec, LIMIT)].concat())]
        {
            refused(region, codec, &[LIMIT]);
        }
        // One that is just within: the messages and the records made of them stand side by side for a moment.
        let whole = wrapper(codec, LIMIT);
        let mut scratch = DecodeScratch::default();
        let (_, peak) = counted(|| assert!(decode(whole, &mut scratch, LIMIT).is_ok(), "{codec}"));
        println!("{codec}: peak {peak} bytes for a whole wrapper");
        assert!(peak <= 2 * LIMIT + slack(codec), "{codec}: {peak} bytes for a limit of {LIMIT}");
    }
}

/// A wrapper of format 1 that decompresses to `size` bytes.
fn wrapper(codec: Compression, size: usize) -> Bytes {
    wrapper_of(codec, &compressed(codec, size))
}

/// One message of format 1 of `size` bytes, compressed.
fn compressed(codec: Compression, size: usize) -> Vec<u8> {
    let mut batch = filled(&ChunkPool::default(), 1, b"");
    batch.set_body(vec![message(0, &vec![0; size - MESSAGE_OVERHEAD]).into()]);
    batch.compress(codec, None).body().concat()
}

fn wrapper_of(codec: Compression, compressed: &[u8]) -> Bytes {
    message(codec.id() as u8, compressed).into()
}

fn message(attributes: u8, value: &[u8]) -> Vec<u8> {
    let mut covered = vec![1, attributes];
    covered.extend([0; 8]);
    covered.extend((-1i32).to_be_bytes());
    covered.extend((value.len() as i32).to_be_bytes());
    covered.extend(value);
    let mut crc = flate2::Crc::new();
    crc.update(&covered);
    [&[0; 8][..], &(4 + covered.len() as i32).to_be_bytes(), &crc.sum().to_be_bytes(), &covered].concat()
}

fn refused(region: Bytes, codec: Compression, limits: &[usize]) {
    for &limit in limits {
        let mut scratch = DecodeScratch::default();
        let (_, peak) = counted(|| {
            let error = decode(region.clone(), &mut scratch, limit).expect_err("over the limit");
            assert_eq!(error.kind(), milena::ErrorKind::CorruptBatch, "{codec}: {error}");
            assert!(error.to_string().contains(&format!("limit of {limit}")), "{codec}: {error}");
        });
        println!("{codec}: peak {peak} bytes for a limit of {limit}");
        assert!(peak <= limit + slack(codec), "{codec}: {peak} bytes for a limit of {limit}");
    }
}

/// What decompressing may take beside its output, as `src/record/compress/mod.rs` states it.
fn slack(codec: Compression) -> usize {
    match codec {
        Compression::Zstd => 4 << 20,
        _ => 64 << 10,
    }
}

const LIMIT: usize = 1 << 20;
/// The bytes of a message of format 1 beside its value.
const MESSAGE_OVERHEAD: usize = 34;
