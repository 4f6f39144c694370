//! The tables of the messages, one file to an API.
//!
//! Rules this folder keeps: names are those of Kafka's specifications in Rust's case; where two specifications use
//! one name for two structures, the message's name stands in front.

mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod fetch;
mod find_coordinator;
mod header;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;

pub use {
    api_versions::*, create_partitions::*, create_topics::*, delete_groups::*, delete_records::*, delete_topics::*,
    describe_cluster::*, describe_configs::*, describe_groups::*, fetch::*, find_coordinator::*, header::*,
    heartbeat::*, init_producer_id::*, join_group::*, leave_group::*, list_groups::*, list_offsets::*, metadata::*,
    offset_commit::*, offset_fetch::*, offset_for_leader_epoch::*, produce::*, sasl_authenticate::*, sasl_handshake::*,
    sync_group::*,
};

/// What a table needs in scope.
mod prelude {
    pub(super) use std::{fmt, ops::RangeInclusive, time::Duration};

    pub(super) use bytes::Bytes;

    pub(super) use crate::wire::{
        ApiKey, At, BrokerIds, DecodeError, EncodeError,
        Entity::{BrokerId, GroupId, ProducerId, TopicName, TransactionalId},
        ErrorCode, Field, FieldSpec, Kind, Message, Nullable, Place, Reader, Records, Request, Size, Str, Uuid, Writer,
        message::{body, default_of, empty, last_stable, message, since, structure, throttle_of, versions},
        varint,
    };

    /// In place of a version: no version of the message is flexible.
    pub(super) const NEVER: i16 = i16::MAX;
}
