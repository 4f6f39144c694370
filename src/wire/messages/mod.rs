//! The tables of the messages, one file to an API.
//!
//! Rules this folder keeps: names are those of Kafka's specifications in Rust's case; where two specifications use
//! one name for two structures, the message's name stands in front.

mod add_raft_voter;
mod alter_share_group_offsets;
mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod consumer_protocol;
mod control_record;
mod create_partitions;
mod create_topics;
mod default_principal;
mod delete_groups;
mod delete_records;
mod delete_share_group_offsets;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_share_group_offsets;
mod describe_topic_partitions;
mod fetch;
mod find_coordinator;
mod get_telemetry_subscriptions;
mod header;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod push_telemetry;
mod remove_raft_voter;
mod sasl_authenticate;
mod sasl_handshake;
mod share_acknowledge;
mod share_fetch;
mod share_group_describe;
mod share_group_heartbeat;
mod streams_group_describe;
mod streams_group_heartbeat;
mod sync_group;
mod update_raft_voter;

pub use {
    add_raft_voter::*, alter_share_group_offsets::*, api_versions::*, consumer_group_describe::*,
    consumer_group_heartbeat::*, consumer_protocol::*, control_record::*, create_partitions::*, create_topics::*,
    default_principal::*, delete_groups::*, delete_records::*, delete_share_group_offsets::*, delete_topics::*,
    describe_cluster::*, describe_configs::*, describe_groups::*, describe_share_group_offsets::*,
    describe_topic_partitions::*, fetch::*, find_coordinator::*, get_telemetry_subscriptions::*, header::*,
    heartbeat::*, init_producer_id::*, join_group::*, leave_group::*, list_config_resources::*, list_groups::*,
    list_offsets::*, metadata::*, offset_commit::*, offset_fetch::*, offset_for_leader_epoch::*, produce::*,
    push_telemetry::*, remove_raft_voter::*, sasl_authenticate::*, sasl_handshake::*, share_acknowledge::*,
    share_fetch::*, share_group_describe::*, share_group_heartbeat::*, streams_group_describe::*,
    streams_group_heartbeat::*, sync_group::*, update_raft_voter::*,
};

/// What a table needs in scope.
mod prelude {
    pub(super) use std::{fmt, ops::RangeInclusive, time::Duration};

    pub(super) use bytes::Bytes;

    pub(super) use crate::wire::{
        ApiKey, At, DecodeError, EncodeError,
        Entity::{BrokerId, GroupId, ProducerId, TopicName, TransactionalId},
        ErrorCode, Field, FieldSpec, Kind, Message, Nullable, Place, Reader, Records, Request, Size, Str, Uuid, Writer,
        message::{body, default_of, empty, last_stable, message, since, structure, throttle_of, versions},
        varint,
    };

    /// In place of a version: no version of the message is flexible.
    pub(super) const NEVER: i16 = i16::MAX;
}
