//! What is inside Produce and Fetch: record batches, their codecs and the partition of a key.
//!
//! Rules this folder keeps:
//! - a record's bytes are copied once when they are produced and never when they are consumed uncompressed;
//! - the peer is hostile: every length is checked against what is there, every output against a stated limit;
//! - memory is recycled: a chunk or buffer comes home when the last view of it is dropped.

mod batch;
mod chunk;
mod compress;
mod control;
mod crc;
mod decode;
#[cfg(test)]
mod golden;
pub mod header;
mod legacy;
pub mod partitioner;
mod recycler;
mod split;
mod varint;
mod view;

pub use batch::{AppendError, BatchBuilder, Header, SealedBatch, record_size};
pub(crate) use chunk::chunk_size;
pub use chunk::{CHUNK, ChunkPool};
pub use compress::Compression;
pub use control::{ControlRecord, ControlType};
pub use decode::{Batches, DecodeScratch, DecodedBatch, RawBatch};
pub use header::BatchHeader;
pub use view::{HeaderView, Headers, RecordIter, RecordView};
