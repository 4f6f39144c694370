//! Bytes ↔ structures: Kafka's messages, all versions, and nothing about what they are for.
//!
//! Rules this folder keeps:
//! - the peer is hostile: every read can fail, every length is checked against what is there before memory is
//!   reserved, arrays over [`MAX_ARRAY`] elements and tagged sections over [`MAX_TAGS`] fields are refused,
//!   bytes left over are an error;
//! - integers of the wire stay integers: unknown error codes and API keys survive and print;
//! - record batches are never copied: they enter and leave as refcounted slices.

mod api;
mod buf;
mod catalog;
mod code;
mod fault;
mod features;
mod field;
mod frame;
mod ids;
mod message;
pub mod messages;
mod negotiate;
mod records;
mod str;
pub mod tree;
mod uuid;
pub mod varint;

pub use api::ApiKey;
pub use buf::{Reader, Writer};
pub use catalog::{APIS, Api, DATA, Table};
pub use code::ErrorCode;
pub use fault::{DecodeError, DecodeFault, EncodeError, EncodeFault};
pub use features::Features;
pub use field::{At, Field, Nullable, Size};
pub use frame::{
    Frame, decode_body, decode_response, decode_versioned, encode_body, encode_request, encode_versioned,
    response_correlation_id,
};
pub use ids::BrokerIds;
pub use message::{Entity, FieldSpec, Kind, Message, Place, Request, Rule};
pub use negotiate::{Choice, Versions};
pub use records::Records;
pub use str::Str;
pub use uuid::{NotAUuid, Uuid};

/// The most elements an array of a peer may announce (the limit of Kafka 4.4).
pub const MAX_ARRAY: usize = 1_000_000;
/// The most tagged fields a structure of a peer may announce (the limit of Kafka 4.4).
pub const MAX_TAGS: usize = 10_000;
