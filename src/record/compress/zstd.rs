//! Zstandard (KIP-110): one frame with its size is written, any frames are read.
//!
//! Rules this file keeps:
//! - decompressing goes through the streaming form only: the one-shot form reserves what frames say they hold.

use bytes::Bytes;
use rust_zstd::CompressOptions;

use super::{Fault, Output, Sink};

#[derive(Default)]
pub(super) struct Compressor {
    kept: Option<(i32, rust_zstd::Compressor)>,
    input: Vec<u8>,
    frame: Vec<u8>,
}

impl Compressor {
    pub(super) fn compress(&mut self, level: Option<i32>, body: &[Bytes], sink: &mut Sink) -> Result<(), Fault> {
        let level = level.unwrap_or(DEFAULT_LEVEL);
        if self.kept.as_ref().is_some_and(|(kept, _)| *kept != level) {
            self.kept = None;
        }
        let new = || (level, rust_zstd::Compressor::new(CompressOptions { level, ..Default::default() }));
        let (_, compressor) = self.kept.get_or_insert_with(new);
        // Whole, because then the frame tells its size and its parameters fit it; the copy is a hundredth of the work.
        self.input.clear();
        body.iter().for_each(|piece| self.input.extend_from_slice(piece));
        self.frame.clear();
        compressor.compress(&self.input, &mut self.frame);
        sink.write(&self.frame);
        self.input.shrink_to(KEPT);
        self.frame.shrink_to(KEPT);
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct Decompressor {
    kept: Option<rust_zstd::Decompressor>,
}

impl Decompressor {
    pub(super) fn decompress(&mut self, input: &[u8], output: &mut Output) -> Result<(), Fault> {
        let done = self.decompress_frames(input, output);
        // The window grows with the output if the frame says so, and this would be kept for batches that need none of it.
        if output.len() > LARGEST_KEPT {
            self.kept = None;
        }
        done
    }

    fn decompress_frames(&mut self, input: &[u8], output: &mut Output) -> Result<(), Fault> {
        let decompressor = self.kept.get_or_insert_with(rust_zstd::Decompressor::new);
        decompressor.reset();
        let (mut read, mut idle_calls) = (0, 0);
        // A frame may end in a call that neither reads nor writes; two such calls in a row mean that it is stuck.
        while idle_calls < 2 {
            let room = output.room(STEP);
            let (before, mut written) = (read, 0);
            decompressor.decompress_stream(input, &mut read, room, &mut written).map_err(fault)?;
            output.advance(written);
            if read >= input.len() && decompressor.finish().is_ok() {
                return Ok(());
            }
            idle_calls = if read == before && written == 0 { idle_calls + 1 } else { 0 };
        }
        match output.is_full() {
            true => Err(output.over_limit()),
            false => Err(Fault::Damaged("zstd: the frame is cut off".into())),
        }
    }
}

#[cold]
fn fault(error: String) -> Fault {
    Fault::Damaged(format!("zstd: {error}").into())
}

/// The library's own default, which Java takes as well.
const DEFAULT_LEVEL: i32 = 3;
/// The most of its own buffers that a thread keeps between batches.
const KEPT: usize = 2 * 1024 * 1024;
/// The longest output whose decompression context is kept.
const LARGEST_KEPT: usize = 8 * 1024 * 1024;
const STEP: usize = 128 * 1024;
