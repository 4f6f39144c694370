//! gzip: one member is written, one or several are read.

use std::io::Read;

use bytes::Bytes;
use flate2::{Compress, Compression as Level, Crc, FlushCompress, Status, bufread::MultiGzDecoder};

use super::{Fault, Output, Sink};

#[derive(Default)]
pub(super) struct Compressor {
    kept: Option<(i32, Compress)>,
}

impl Compressor {
    pub(super) fn compress(&mut self, level: Option<i32>, body: &[Bytes], sink: &mut Sink) -> Result<(), Fault> {
        let deflate = self.deflate(level.unwrap_or(DEFAULT_LEVEL).clamp(1, 9));
        sink.write(&HEADER);
        let mut crc = Crc::new();
        for piece in body {
            crc.update(piece);
            let mut rest: &[u8] = piece;
            while !rest.is_empty() {
                let before = deflate.total_in();
                deflate.compress_vec(rest, sink.chunk(), FlushCompress::None).map_err(fault)?;
                rest = rest.get((deflate.total_in() - before) as usize..).unwrap_or_default();
            }
        }
        while deflate.compress_vec(&[], sink.chunk(), FlushCompress::Finish).map_err(fault)? != Status::StreamEnd {}
        sink.write(&crc.sum().to_le_bytes());
        sink.write(&crc.amount().to_le_bytes());
        Ok(())
    }

    /// The compressor of that level, empty: making one costs 300 KB of fresh memory.
    fn deflate(&mut self, level: i32) -> &mut Compress {
        if self.kept.as_ref().is_some_and(|(kept, _)| *kept != level) {
            self.kept = None;
        }
        let (_, deflate) = self.kept.get_or_insert_with(|| (level, Compress::new(Level::new(level as u32), false)));
        deflate.reset();
        deflate
    }
}

pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), Fault> {
    let mut members = MultiGzDecoder::new(input);
    loop {
        if output.is_full() {
            // One byte more tells a batch of just the limit from a longer one.
            return match members.read(&mut [0]).map_err(fault)? {
                0 => Ok(()),
                _ => Err(output.over_limit()),
            };
        }
        let read = members.read(output.room(STEP)).map_err(fault)?;
        if read == 0 {
            return Ok(());
        }
        output.advance(read);
    }
}

#[cold]
fn fault(error: impl std::fmt::Display) -> Fault {
    Fault::Damaged(format!("gzip: {error}").into())
}

/// zlib's own default, which Java takes as well.
const DEFAULT_LEVEL: i32 = 6;
/// Deflate, no flags, no time, no system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const STEP: usize = 16 * 1024;
