use super::*;
use crate::record::chunk::ChunkPool;

const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn compress(codec: Compression, level: Option<i32>, body: &[Bytes]) -> Vec<u8> {
    let mut sink = Sink::new(ChunkPool::default(), 100_000);
    Compressor::default().compress(codec, level, body, &mut sink).unwrap();
    sink.finish().0.concat()
}

fn decompress(codec: Compression, input: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut output = Output::new(Vec::new(), limit);
    Decompressor::default().decompress(codec, input, &mut output)?;
    let (buffer, used) = output.into_parts();
    Ok(buffer[..used].to_vec())
}

/// Text that compresses as records do, in pieces of odd sizes.
fn text(length: usize, seed: u64) -> (Vec<u8>, Vec<Bytes>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let words = ["order", "created", "42", "customer", "{\"id\":", "},", "eu-west"];
    let mut text = Vec::with_capacity(length + 10);
    while text.len() < length {
        text.extend_from_slice(words[random.usize(..words.len())].as_bytes());
        text.push(random.u8(..));
    }
    text.truncate(length);
    let (mut rest, mut pieces) = (text.as_slice(), Vec::new());
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(random.usize(1..=100_000).min(rest.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        rest = later;
    }
    (text, pieces)
}

#[test]
fn every_codec_reads_what_it_writes_at_every_block_border() {
    for codec in CODECS {
        for length in [1, 100, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 131_072, 1_000_000] {
            let (whole, pieces) = text(length, length as u64);
            let compressed = compress(codec, None, &pieces);
            assert_eq!(decompress(codec, &compressed, length).unwrap(), whole, "{codec} {length}");
            let refused = decompress(codec, &compressed, length - 1);
            assert!(matches!(refused, Err(Fault::OverLimit(_))), "{codec} {length}: {refused:?}");
        }
    }
}

#[test]
fn one_compressor_serves_many_batches_and_levels() {
    let mut compressor = Compressor::default();
    for round in 0..6 {
        for codec in CODECS {
            let (whole, pieces) = text(10_000 * (round + 1), 7);
            let mut sink = Sink::new(ChunkPool::default(), 100_000);
            let level = (round % 2 == 1).then_some(1);
            compressor.compress(codec, level, &pieces, &mut sink).unwrap();
            assert_eq!(decompress(codec, &sink.finish().0.concat(), 1 << 20).unwrap(), whole, "{codec}");
        }
    }
}

#[test]
fn levels_change_the_size() {
    let (_, pieces) = text(300_000, 3);
    for (codec, fast, small) in [(Compression::Gzip, 1, 9), (Compression::Zstd, 1, 19)] {
        let sizes = [fast, small].map(|level| compress(codec, Some(level), &pieces).len());
        assert!(sizes[1] < sizes[0], "{codec}: {sizes:?}");
    }
}

#[test]
fn every_level_is_read_back_and_lz4_has_one() {
    let (whole, pieces) = text(30_000, 6);
    let levels: [(_, &[i32]); 3] = [
        (Compression::Gzip, &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (Compression::Lz4, &[1, 9, 17]),
        (Compression::Zstd, &[-131_072, -5, -1, 0, 1, 3, 9, 15, 19, 22]),
    ];
    for (codec, levels) in levels {
        for &level in levels {
            codec.check_level(level).unwrap();
            let compressed = compress(codec, Some(level), &pieces);
            assert_eq!(decompress(codec, &compressed, whole.len()).unwrap(), whole, "{codec} {level}");
            let same = compressed == compress(codec, None, &pieces);
            assert!(codec != Compression::Lz4 || same, "LZ4 takes its levels and has no use for them: {level}");
        }
    }
    let sizes = [-131_072, -5, 3].map(|level| compress(Compression::Zstd, Some(level), &pieces).len());
    assert!(sizes.is_sorted_by(|fast, small| fast > small), "negative levels are faster and larger: {sizes:?}");
}

#[test]
fn levels_are_checked_by_name() {
    let cases = [
        (Compression::Gzip, 9, true),
        (Compression::Gzip, 0, false),
        (Compression::Lz4, 17, true),
        (Compression::Lz4, 18, false),
        (Compression::Zstd, -131_072, true),
        (Compression::Zstd, 23, false),
        (Compression::Snappy, 1, false),
        (Compression::None, 1, false),
    ];
    for (codec, level, fine) in cases {
        assert_eq!(codec.check_level(level).is_ok(), fine, "{codec} {level}");
    }
}

#[test]
fn names_and_numbers_are_kafkas() {
    for (id, name) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let codec: Compression = name.parse().unwrap();
        assert_eq!((codec.id(), codec.to_string().as_str()), (id as i16, name));
        assert_eq!(Compression::from_id(id as i16), Some(codec));
    }
    assert!((5..8).all(|id| Compression::from_id(id).is_none()));
    assert!("LZ4".parse::<Compression>().is_err());
    assert_eq!(Compression::Zstd.least_produce_version(), 7);
}

#[test]
fn the_frames_begin_as_java_writes_them() {
    let (_, pieces) = text(100_000, 1);
    let starts: [(_, &[u8]); 4] = [
        (Compression::Gzip, &[0x1f, 0x8b, 8, 0]),
        (Compression::Snappy, &[0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
        (Compression::Lz4, &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]),
        (Compression::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
    ];
    for (codec, start) in starts {
        assert!(compress(codec, None, &pieces).starts_with(start), "{codec}");
    }
    assert!(compress(Compression::Lz4, None, &pieces).ends_with(&[0; 4]));
}

#[test]
fn joined_streams_are_read_under_one_limit() {
    for codec in CODECS {
        let (whole, pieces) = text(50_000, 5);
        let joined = compress(codec, None, &pieces).repeat(3);
        assert_eq!(decompress(codec, &joined, 150_000).unwrap(), whole.repeat(3), "{codec}");
        assert!(matches!(decompress(codec, &joined, 149_999), Err(Fault::OverLimit(149_999))), "{codec}");
    }
}

#[test]
fn bare_snappy_is_read() {
    let (whole, _) = text(200_000, 2);
    let bare = snap::raw::Encoder::new().compress_vec(&whole).unwrap();
    assert_eq!(decompress(Compression::Snappy, &bare, whole.len()).unwrap(), whole);
    assert!(matches!(decompress(Compression::Snappy, &bare, whole.len() - 1), Err(Fault::OverLimit(_))));
}

#[test]
fn lz4_frames_of_other_writers_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;
    let (whole, _) = text(700_000, 4);
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for sums in [false, true] {
                let info = FrameInfo::new().block_size(size).block_mode(mode).block_checksums(sums);
                let info = info.content_checksum(sums).content_size(sums.then_some(whole.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(&whole).unwrap();
                let frame = encoder.finish().unwrap();
                assert_eq!(decompress(Compression::Lz4, &frame, whole.len()).unwrap(), whole);
                assert!(matches!(decompress(Compression::Lz4, &frame, whole.len() - 1), Err(Fault::OverLimit(_))));
            }
        }
    }
}

#[test]
fn our_lz4_frame_is_read_by_a_library() {
    use std::io::Read;
    let (whole, pieces) = text(300_000, 9);
    let frame = compress(Compression::Lz4, None, &pieces);
    let mut read = Vec::new();
    lz4_flex::frame::FrameDecoder::new(frame.as_slice()).read_to_end(&mut read).unwrap();
    assert_eq!(read, whole);
}

#[test]
fn c14_cut_off_and_changed_streams_never_panic() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for codec in CODECS {
        let (whole, pieces) = text(3000, seed);
        let compressed = compress(codec, None, &pieces);
        for cut in 1..compressed.len() {
            let read = decompress(codec, &compressed[..cut], 1 << 20);
            assert!(read.is_err() || read.as_ref().is_ok_and(|read| whole.starts_with(read)), "{codec} cut at {cut}");
        }
        for _ in 0..3000 {
            let mut changed = compressed.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..changed.len());
                changed[at] = random.u8(..);
            }
            if let Ok(read) = decompress(codec, &changed, 10_000) {
                assert!(read.len() <= 10_000);
            }
        }
    }
}

#[test]
fn what_does_not_shrink_stays_as_it_was() {
    let noise: Vec<u8> = fastrand::Rng::with_seed(1).u64(..).to_le_bytes().to_vec();
    for codec in CODECS {
        let mut builder = crate::record::BatchBuilder::new(&ChunkPool::default());
        builder.append(0, None, Some(&noise), &[]).unwrap();
        let before = builder.body_len();
        let batch = builder.seal().compress(codec, None);
        assert_eq!((batch.body_len(), batch.attributes), (before, 0), "{codec}");
    }
}
