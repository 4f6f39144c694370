//! The broker's own way through the four codecs, for what it must read or write inside a batch.
//!
//! Rules this file keeps:
//! - nothing here is shared with the client: other entrances of the same libraries, so that a mistake of one side's
//!   framing shows on the other;
//! - what comes out is bounded by [`LARGEST`], whatever the bytes promise.

use std::io::{Read, Write};

use flate2::{bufread::MultiGzDecoder, write::GzEncoder};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// What `bytes` hold; `None` if they are damaged, hold more than [`LARGEST`], or the codec is unknown.
pub(super) fn decompress(codec: i16, bytes: &[u8]) -> Option<Vec<u8>> {
    match codec {
        NONE => Some(bytes.to_vec()),
        GZIP => read_all(MultiGzDecoder::new(bytes)),
        SNAPPY => unsnap(bytes),
        LZ4 => read_all(FrameDecoder::new(bytes)),
        ZSTD => unzstd(bytes),
        _ => None,
    }
}

/// `bytes` in this codec at its default level; `None` if the codec is unknown or fails.
pub(super) fn compress(codec: i16, bytes: &[u8]) -> Option<Vec<u8>> {
    match codec {
        NONE => Some(bytes.to_vec()),
        GZIP => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).ok()?;
            encoder.finish().ok()
        }
        SNAPPY => snap_framed(bytes),
        LZ4 => {
            let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(bytes).ok()?;
            encoder.finish().ok()
        }
        ZSTD => {
            let mut frame = Vec::new();
            rust_zstd::Compressor::new(rust_zstd::CompressOptions::default()).compress(bytes, &mut frame);
            Some(frame)
        }
        _ => None,
    }
}

/// The codec of this name in a topic's `compression.type`.
pub(super) fn by_name(name: &str) -> Option<i16> {
    [("uncompressed", NONE), ("gzip", GZIP), ("snappy", SNAPPY), ("lz4", LZ4), ("zstd", ZSTD)]
        .into_iter()
        .find_map(|(known, codec)| (known == name).then_some(codec))
}

fn read_all(reader: impl Read) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    reader.take(LARGEST as u64 + 1).read_to_end(&mut whole).ok()?;
    (whole.len() <= LARGEST).then_some(whole)
}

/// Bare snappy, or blocks in the framing of snappy-java.
fn unsnap(bytes: &[u8]) -> Option<Vec<u8>> {
    let Some(mut rest) = bytes.strip_prefix(XERIAL) else { return unsnap_block(bytes, LARGEST) };
    let mut whole = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (block, after) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        whole.extend(unsnap_block(block, LARGEST - whole.len())?);
        rest = after;
    }
    rest.is_empty().then_some(whole)
}

fn unsnap_block(block: &[u8], room: usize) -> Option<Vec<u8>> {
    let length = snap::raw::decompress_len(block).ok()?;
    // The length is the peer's word, and memory is reserved by it; no block expands further than this.
    if length > room || length > block.len().saturating_mul(64) {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(block).ok()
}

fn snap_framed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut framed = XERIAL.to_vec();
    for block in bytes.chunks(32 * 1024) {
        let block = snap::raw::Encoder::new().compress_vec(block).ok()?;
        framed.extend((block.len() as u32).to_be_bytes());
        framed.extend(block);
    }
    Some(framed)
}

fn unzstd(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decompressor = rust_zstd::Decompressor::new();
    let (mut whole, mut step) = (Vec::new(), vec![0; 64 * 1024]);
    let (mut read, mut idle) = (0, 0);
    while idle < 2 && whole.len() <= LARGEST {
        let (before, mut written) = (read, 0);
        decompressor.decompress_stream(bytes, &mut read, &mut step, &mut written).ok()?;
        whole.extend_from_slice(step.get(..written)?);
        if read >= bytes.len() && decompressor.finish().is_ok() {
            return (whole.len() <= LARGEST).then_some(whole);
        }
        idle = if read == before && written == 0 { idle + 1 } else { 0 };
    }
    None
}

pub(super) const NONE: i16 = 0;
const GZIP: i16 = 1;
const SNAPPY: i16 = 2;
const LZ4: i16 = 3;
/// The code of zstd, which needs Produce 7 or later (KIP-110) and is the last one there is.
pub(super) const ZSTD: i16 = 4;

/// The head of snappy-java's framing: its magic, version 1, readable from version 1 on.
const XERIAL: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];

/// No batch is opened that holds more than this: a megabyte of zeros compressed could ask for a thousand times as much.
const LARGEST: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back_and_cut_bytes_do_not() {
        let text: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for codec in NONE..=ZSTD {
            let compressed = compress(codec, &text).unwrap();
            assert!(codec == NONE || compressed.len() < text.len() / 2, "codec {codec}: {}", compressed.len());
            assert!(decompress(codec, &compressed).unwrap() == text, "codec {codec}");
            let cut = decompress(codec, &compressed[..compressed.len() / 2]);
            assert!(codec == NONE || cut.is_none_or(|cut| cut.len() < text.len()), "codec {codec}, cut");
        }
        assert_eq!(decompress(5, &text), None);
    }

    #[test]
    fn more_than_the_bound_is_refused() {
        let zeros = vec![0; LARGEST + 1];
        for codec in [GZIP, LZ4, ZSTD] {
            assert_eq!(decompress(codec, &compress(codec, &zeros).unwrap()), None, "codec {codec}");
        }
        assert_eq!(unsnap_block(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], LARGEST), None, "a length that lies");
    }
}
