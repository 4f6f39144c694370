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
        bomb.body = vec![bomb.body.clone(); 4].concat();
        for region in [small, region(&bomb)] {
            refused(region, codec);
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
    bomb.body = vec![frame.into()];
    bomb.attributes = Compression::Zstd.id();
    refused(region(&bomb), Compression::Zstd);
}

fn refused(region: Bytes, codec: Compression) {
    const LIMIT: usize = 1 << 20;
    let mut scratch = DecodeScratch::default();
    let (_, peak) = counted(|| {
        let error = decode(region, &mut scratch, LIMIT).expect_err("over the limit");
        assert_eq!(error.kind(), milena::ErrorKind::CorruptBatch, "{codec}: {error}");
        assert!(error.to_string().contains("limit of 1048576"), "{codec}: {error}");
    });
    println!("{codec}: peak {peak} bytes");
    assert!(peak <= LIMIT + 8 * LIMIT, "{codec}: {peak} bytes for a limit of {LIMIT}");
}
