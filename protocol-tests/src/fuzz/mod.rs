//! What the fuzz targets do with an input. It stands here, not in `fuzz/`, so that `tests/fuzz_seeds.rs` does the same
//! on a stable toolchain with every seed and every input that ever failed.
//!
//! Rules this folder keeps:
//! - any bytes are an input: too short ones read as zeros, so that every mutation stays one;
//! - an input that decodes has to keep its promises (it encodes, has the size it said, reads back the same), one that
//!   does not is an error; a panic is the only failure there is;
//! - messages are chosen by key and version, not by their place in a list: new tables need no new seeds or targets.

mod messages;
mod old_records;
mod records;
mod tape;
mod texts;

pub use messages::{Checks, name_hash};
pub use tape::Tape;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of the binary, and of the folders of its seeds and vectors.
    pub name: &'static str,
    /// What it does with an input. It panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Bytes of memory that any input may take.
    pub at_least: usize,
    /// Bytes of memory besides for each byte of the input.
    pub multiple: usize,
}

impl Target {
    /// The target of that name.
    ///
    /// # Panics
    /// There is none.
    pub fn named(name: &str) -> Self {
        *TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target {name}"))
    }

    /// The most bytes of memory that an input of `length` bytes may take.
    pub fn memory(&self, length: usize) -> usize {
        self.at_least + self.multiple * length
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A value is alive twice, and its bytes and what it prints besides.
const MESSAGE: usize = 600;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: messages::frame, at_least: 64 * KIB, multiple: MESSAGE },
    Target { name: "response", run: messages::body, at_least: 64 * KIB, multiple: MESSAGE },
    Target { name: "structured_message", run: messages::structured, at_least: 2 * MIB, multiple: MESSAGE },
    Target { name: "consumer_protocol", run: messages::data, at_least: 64 * KIB, multiple: MESSAGE },
    Target { name: "tree", run: messages::tree, at_least: 128 * MIB, multiple: 2_000 },
    Target { name: "record_batch", run: records::raw, at_least: 4 * MIB, multiple: 64 },
    Target { name: "structured_batch", run: records::structured, at_least: 32 * MIB, multiple: 64 },
    Target { name: "old_formats", run: old_records::old_formats, at_least: 32 * MIB, multiple: 64 },
    Target { name: "decompress", run: records::decompress, at_least: 8 * MIB, multiple: 16 },
    Target { name: "confluent_frame", run: texts::confluent_frame, at_least: 16 * KIB, multiple: 4 },
    // The crate apache-avro reserves what a length says, up to the 128 MiB that `serdes/avro/limits.rs` allows it; the
    // table behind a map's entries is a power of two and takes more than they do.
    Target { name: "avro", run: texts::avro, at_least: 192 * MIB, multiple: 1_000 },
    Target { name: "properties", run: texts::properties, at_least: MIB, multiple: 1_000 },
];
