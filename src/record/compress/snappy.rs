//! Snappy in the framing of xerial's snappy-java, which Kafka took over; bare snappy is read as well.
//!
//! The framing has no end mark and no checksum: a 16-byte header, then blocks with their length in front.

use bytes::Bytes;
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{Fault, Output, Sink};

pub(super) struct Compressor {
    encoder: Encoder,
    block: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { encoder: Encoder::new(), block: Vec::new() }
    }
}

impl Compressor {
    /// One block per chunk: a batch's chunks are no longer than the blocks Java writes.
    pub(super) fn compress(&mut self, body: &[Bytes], sink: &mut Sink) -> Result<(), Fault> {
        self.block.resize(max_compress_len(BLOCK), 0);
        sink.write(&HEADER);
        for block in body.iter().flat_map(|piece| piece.chunks(BLOCK)) {
            let length = self.encoder.compress(block, &mut self.block).map_err(fault)?;
            sink.write(&(length as u32).to_be_bytes());
            sink.write(self.block.get(..length).unwrap_or_default());
        }
        Ok(())
    }
}

pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), Fault> {
    if !input.starts_with(MAGIC) {
        return block(input, output);
    }
    let mut rest = input;
    while !rest.is_empty() {
        // Joined streams repeat the header; no block is as long as its first bytes would say.
        if rest.starts_with(MAGIC) {
            rest = rest.get(HEADER.len()..).ok_or_else(cut)?;
            continue;
        }
        let (length, tail) = rest.split_first_chunk().ok_or_else(cut)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (now, later) = tail.split_at_checked(length).ok_or_else(cut)?;
        block(now, output)?;
        rest = later;
    }
    Ok(())
}

fn block(input: &[u8], output: &mut Output) -> Result<(), Fault> {
    let length = decompress_len(input).map_err(fault)?;
    // Three bytes copy 64 at most, so a longer length is a lie, told to make us reserve memory.
    if length > input.len().saturating_mul(MOST_EXPANSION) {
        return Err(Fault::Damaged("snappy: a block says it is longer than it can be".into()));
    }
    let room = output.room(length);
    if room.len() < length {
        return Err(output.over_limit());
    }
    let written = Decoder::new().decompress(input, room).map_err(fault)?;
    output.advance(written);
    Ok(())
}

#[cold]
fn cut() -> Fault {
    Fault::Damaged("snappy: the last block is cut off".into())
}

#[cold]
fn fault(error: snap::Error) -> Fault {
    Fault::Damaged(format!("snappy: {error}").into())
}

const MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic, the version and the least version that can read it, both 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// What Java writes.
const BLOCK: usize = 32 * 1024;
const MOST_EXPANSION: usize = 32;
