//! The codecs of a batch's records.

use std::{fmt, str::FromStr};

use crate::error::{Error, ErrorKind};

/// How a batch's records are compressed (`compression.type`).
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
