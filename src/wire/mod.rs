//! Bytes ↔ structures: Kafka's messages, all versions, and nothing about what they are for.
//!
//! Rules this folder keeps:
//! - the peer is hostile: every read can fail, every length is checked against what is there before memory is
//!   reserved, arrays over [`MAX_ARRAY`] elements and tagged sections over [`MAX_TAGS`] fields are refused,
//!   bytes left over are an error;
//! - integers of the wire stay integers: unknown error codes and API keys survive and print;
//! - record batches are never copied: they enter and leave as refcounted slices.

mod code;
mod str;

pub use code::ErrorCode;
pub use str::Str;

/// The most elements an array of a peer may announce (the limit of Kafka 4.4).
pub const MAX_ARRAY: usize = 1_000_000;
/// The most tagged fields a structure of a peer may announce (the limit of Kafka 4.4).
pub const MAX_TAGS: usize = 10_000;
