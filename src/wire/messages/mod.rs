//! The tables of the messages, one file to an API.
//!
//! Rules this folder keeps: names are those of Kafka's specifications in Rust's case; where two specifications use
//! one name for two structures, the message's name stands in front.

mod api_versions;
mod create_topics;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod sasl_authenticate;
mod sasl_handshake;

pub use {
    api_versions::*, create_topics::*, delete_topics::*, describe_cluster::*, describe_configs::*, fetch::*,
    find_coordinator::*, init_producer_id::*, list_offsets::*, metadata::*, offset_for_leader_epoch::*, produce::*,
    sasl_authenticate::*, sasl_handshake::*,
};

/// What a table needs in scope.
mod prelude {
    pub(super) use std::{fmt, ops::RangeInclusive, time::Duration};

    pub(super) use bytes::Bytes;

    pub(super) use crate::wire::{
        ApiKey, At, DecodeError, EncodeError, ErrorCode, Field, FieldSpec, Kind, Message, Nullable, Place, Reader,
        Records, Request, Size, Str, Uuid, Writer,
        message::{body, default_of, empty, last_stable, message, since, structure, throttle_of, versions},
        varint,
    };

    /// In place of a version: no version of the message is flexible.
    pub(super) const NEVER: i16 = i16::MAX;
}
