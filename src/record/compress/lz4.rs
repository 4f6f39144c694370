//! The LZ4 frame format, by hand over the block codec: faster than a frame library, and every table is kept.
//!
//! Rules this file keeps:
//! - one frame per batch, blocks of 64 KiB independent of each other: Java reads neither linked blocks nor, silently, a
//!   second frame;
//! - frames of any form are read, linked blocks and several frames too; their own checksums are skipped, because the
//!   batch's checksum covers the compressed bytes.

use bytes::Bytes;
use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into, decompress_into_with_dict,
    get_maximum_output_size,
};

use super::{Fault, Output, Sink};

pub(super) struct Compressor {
    table: CompressTable,
    input: Vec<u8>,
    block: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { table: CompressTable::large(), input: Vec::new(), block: Vec::new() }
    }
}

impl Compressor {
    pub(super) fn compress(&mut self, body: &[Bytes], sink: &mut Sink) -> Result<(), Fault> {
        self.block.resize(get_maximum_output_size(BLOCK), 0);
        sink.write(&HEADER);
        let mut gathered = std::mem::take(&mut self.input);
        let done = for_each_block(body, &mut gathered, |block| self.write_block(block, sink));
        self.input = gathered;
        sink.write(&END.to_le_bytes());
        done
    }

    fn write_block(&mut self, block: &[u8], sink: &mut Sink) -> Result<(), Fault> {
        let length = compress_into_with_table(block, &mut self.block, &mut self.table)
            .map_err(|error| Fault::Damaged(format!("lz4: {error}").into()))?;
        match self.block.get(..length).filter(|_| length < block.len()) {
            Some(compressed) => {
                sink.write(&(length as u32).to_le_bytes());
                sink.write(compressed);
            }
            None => {
                sink.write(&(block.len() as u32 | STORED).to_le_bytes());
                sink.write(block);
            }
        }
        Ok(())
    }
}

/// Cuts `body` into blocks of [`BLOCK`] bytes. What lies in one piece is not copied.
fn for_each_block(
    body: &[Bytes],
    gathered: &mut Vec<u8>,
    mut write: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    gathered.clear();
    for piece in body {
        let mut rest: &[u8] = piece;
        while !rest.is_empty() {
            if gathered.is_empty()
                && let Some((block, later)) = rest.split_at_checked(BLOCK)
            {
                write(block)?;
                rest = later;
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(BLOCK - gathered.len()));
            gathered.extend_from_slice(now);
            rest = later;
            if gathered.len() == BLOCK {
                write(gathered)?;
                gathered.clear();
            }
        }
    }
    if gathered.is_empty() { Ok(()) } else { write(gathered) }
}

pub(super) fn decompress(mut input: &[u8], output: &mut Output) -> Result<(), Fault> {
    while !input.is_empty() {
        let frame = Frame::take(&mut input).ok_or_else(damaged)?;
        frame.take_blocks(&mut input, output)?;
    }
    Ok(())
}

/// What a frame's descriptor says.
struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    longest_block: usize,
}

impl Frame {
    /// Takes a descriptor off the front; `None` if it is none that the format allows.
    fn take(input: &mut &[u8]) -> Option<Self> {
        let rest = input.strip_prefix(MAGIC)?;
        let (&[flags, sizes], rest) = rest.split_first_chunk()?;
        // Version 1, no reserved bit, no dictionary: nobody could have given us one.
        if flags & 0b1100_0011 != 0b0100_0000 {
            return None;
        }
        let longest_block = match sizes >> 4 & 7 {
            size @ 4..=7 => 1 << (8 + 2 * size),
            _ => return None,
        };
        let content_size = if flags & 8 != 0 { 8 } else { 0 };
        *input = rest.get(content_size + 1..)?;
        Some(Self {
            linked: flags & 0x20 == 0,
            block_checksums: flags & 0x10 != 0,
            content_checksum: flags & 4 != 0,
            longest_block,
        })
    }

    fn take_blocks(&self, input: &mut &[u8], output: &mut Output) -> Result<(), Fault> {
        loop {
            let length = take_u32(input).ok_or_else(damaged)?;
            if length == END {
                return match self.content_checksum {
                    true => take_u32(input).map(drop).ok_or_else(damaged),
                    false => Ok(()),
                };
            }
            let (block, rest) = input.split_at_checked((length & !STORED) as usize).ok_or_else(damaged)?;
            *input = rest;
            if self.block_checksums {
                take_u32(input).ok_or_else(damaged)?;
            }
            if length & STORED != 0 { output.write(block)? } else { self.decompress_block(block, output)? }
        }
    }

    fn decompress_block(&self, block: &[u8], output: &mut Output) -> Result<(), Fault> {
        let (written, room) = output.written_and_room(self.longest_block);
        let enough = room.len() >= self.longest_block;
        let result = if self.linked {
            let window = written.get(written.len().saturating_sub(WINDOW)..).unwrap_or_default();
            decompress_into_with_dict(block, room, window)
        } else {
            decompress_into(block, room)
        };
        match result {
            Ok(length) => {
                output.advance(length);
                Ok(())
            }
            Err(DecompressError::OutputTooSmall { .. }) if !enough => Err(output.over_limit()),
            Err(error) => Err(Fault::Damaged(format!("lz4: {error}").into())),
        }
    }
}

fn take_u32(input: &mut &[u8]) -> Option<u32> {
    let (number, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(u32::from_le_bytes(*number))
}

#[cold]
fn damaged() -> Fault {
    Fault::Damaged("lz4: the frame is cut off or of no known form".into())
}

const MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
/// Version 1, independent blocks of 64 KiB, no checksums; the last byte sums up the two before it.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const BLOCK: usize = 64 * 1024;
const WINDOW: usize = 64 * 1024;
/// The bit of a block's length that says it is not compressed.
const STORED: u32 = 1 << 31;
const END: u32 = 0;
