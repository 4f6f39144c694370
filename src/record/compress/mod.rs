//! The codecs of a batch's records.
//!
//! Rules this folder keeps:
//! - what is written is what Kafka's Java client reads: one LZ4 frame of independent blocks, xerial's snappy framing;
//! - what is read is bounded by a limit of the caller's, over all members, frames and blocks of a batch together, and
//!   memory grows with the output, never by a number that a peer wrote: a batch takes its limit, and beside it 64 KiB
//!   for gzip, nothing for snappy and LZ4, for zstd 4 MiB or, if its frame's window is larger (128 MiB at most), twice as
//!   much as it has put out (an allocator that copies what grows has the old half besides, for a moment);
//! - tables and contexts are kept, per thread when compressing and per scratch when decompressing.

mod buffers;
mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::{borrow::Cow, cell::RefCell, fmt, str::FromStr};

use bytes::Bytes;

pub(super) use self::buffers::{Output, Sink};
use super::{batch::SealedBatch, header};
use crate::error::{Error, ErrorKind};

/// How a batch's records are compressed. Java: `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// Deflate in a gzip member: small output, slow.
    Gzip,
    /// Snappy in the framing of xerial's snappy-java: fast.
    Snappy,
    /// An LZ4 frame of independent 64 KiB blocks: fastest to read.
    Lz4,
    /// Zstandard (KIP-110): needs Produce 7 and Fetch 10, so Kafka 2.1.
    Zstd,
}

impl Compression {
    const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number that the batch's attributes hold.
    pub fn id(self) -> i16 {
        self as i16
    }

    /// The codec of that number, if Kafka has defined one.
    pub fn from_id(id: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.id() == id)
    }

    /// Kafka's name of the codec.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The first version of Produce that may carry it (KIP-110: zstd needs 7).
    pub fn least_produce_version(self) -> i16 {
        if self == Self::Zstd { 7 } else { 3 }
    }

    /// Checks a level before it is used (KIP-390): gzip takes 1 to 9, zstd -131072 to 22, LZ4 ignores 1 to 17.
    ///
    /// # Errors
    ///
    /// The codec has no such level.
    pub fn check_level(self, level: i32) -> Result<(), Error> {
        let levels = match self {
            Self::Gzip => 1..=9,
            Self::Lz4 => 1..=17,
            Self::Zstd => -131_072..=22,
            Self::None | Self::Snappy => {
                return Err(Error::new(ErrorKind::Config, format!("{self} has no levels, {level} was given")));
            }
        };
        if levels.contains(&level) {
            return Ok(());
        }
        let (least, most) = levels.into_inner();
        Err(Error::new(ErrorKind::Config, format!("{self} has the levels {least} to {most}, {level} was given")))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Compression {
    type Err = Error;

    /// Reads Kafka's name of a codec.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|codec| codec.name() == name).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("{name:?} is no codec: none, gzip, snappy, lz4 and zstd are"))
        })
    }
}

impl SealedBatch {
    /// The same batch with its records compressed, or as it was if that is not smaller.
    ///
    /// Kafka's rules allow that: every batch names its own codec, none is one of them, and no broker and no topic
    /// refuses it. A topic's `compression.type` says what the broker stores, and a broker that wants another codec than a
    /// batch has compresses it again itself. Java's producer keeps what has grown; readers see no difference.
    ///
    /// Pure computation of some milliseconds per mebibyte: call it on a worker, not on a connection's task. `level` is
    /// the codec's own default if `None`; the codec's tables are kept per thread.
    #[must_use]
    pub fn compress(self, codec: Compression, level: Option<i32>) -> Self {
        let before = self.body_len();
        if codec == Compression::None || before == 0 {
            return self;
        }
        let mut sink = Sink::new(self.pool.clone(), before);
        let done = COMPRESSOR.with_borrow_mut(|compressor| compressor.compress(codec, level, &self.body, &mut sink));
        if let Err(fault) = done {
            // Uncompressed is always right, and the broker takes it.
            tracing::warn!(%codec, %fault, "records could not be compressed");
            return self;
        }
        if sink.len() >= before {
            return self;
        }
        let (body, sum) = sink.finish();
        Self { body, sum: Some(sum), attributes: self.attributes & !header::CODEC_MASK | codec.id(), ..self }
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Compressor> = RefCell::default();
}

#[derive(Default)]
struct Compressor {
    gzip: gzip::Compressor,
    snappy: snappy::Compressor,
    lz4: lz4::Compressor,
    zstd: zstd::Compressor,
}

impl Compressor {
    fn compress(
        &mut self,
        codec: Compression,
        level: Option<i32>,
        body: &[Bytes],
        sink: &mut Sink,
    ) -> Result<(), Fault> {
        match codec {
            Compression::None => Ok(()),
            Compression::Gzip => self.gzip.compress(level, body, sink),
            Compression::Snappy => self.snappy.compress(body, sink),
            Compression::Lz4 => self.lz4.compress(body, sink),
            Compression::Zstd => self.zstd.compress(level, body, sink),
        }
    }
}

/// The contexts that decompressing keeps from batch to batch.
#[derive(Default)]
pub(super) struct Decompressor {
    zstd: zstd::Decompressor,
}

impl Decompressor {
    /// Appends what `input` holds to `output`, whose limit holds over all of it.
    pub(super) fn decompress(&mut self, codec: Compression, input: &[u8], output: &mut Output) -> Result<(), Fault> {
        match codec {
            Compression::None => Err(Fault::Damaged("it is not compressed".into())),
            Compression::Gzip => gzip::decompress(input, output),
            Compression::Snappy => snappy::decompress(input, output),
            Compression::Lz4 => lz4::decompress(input, output),
            Compression::Zstd => self.zstd.decompress(input, output),
        }
    }
}

/// Why compressed bytes were not read.
#[derive(Debug)]
pub(super) enum Fault {
    /// They are longer than the limit when decompressed.
    OverLimit(usize),
    /// They are not what the codec writes.
    Damaged(Cow<'static, str>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverLimit(limit) => write!(f, "it decompresses to more than the limit of {limit} bytes"),
            Self::Damaged(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests;
