//! The tables of the messages, one file to an API.
//!
//! Rules this folder keeps: names are those of Kafka's specifications in Rust's case; where two specifications use
//! one name for two structures, the message's name stands in front.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod add_raft_voter;
mod allocate_producer_ids;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_share_group_offsets;
mod alter_user_scram_credentials;
mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod consumer_protocol;
mod control_record;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod default_principal;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_share_group_offsets;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_share_group_offsets;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod expire_delegation_token;
mod fetch;
mod find_coordinator;
mod get_telemetry_subscriptions;
mod header;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod push_telemetry;
mod remove_raft_voter;
mod renew_delegation_token;
mod sasl_authenticate;
mod sasl_handshake;
mod share_acknowledge;
mod share_fetch;
mod share_group_describe;
mod share_group_heartbeat;
mod streams_group_describe;
mod streams_group_heartbeat;
mod streams_group_topology_description_update;
mod sync_group;
mod txn_offset_commit;
mod unregister_broker;
mod unregister_controller;
mod update_features;
mod update_raft_voter;
mod write_txn_markers;

pub use {
    add_offsets_to_txn::*, add_partitions_to_txn::*, add_raft_voter::*, allocate_producer_ids::*,
    alter_client_quotas::*, alter_configs::*, alter_partition::*, alter_partition_reassignments::*,
    alter_replica_log_dirs::*, alter_share_group_offsets::*, alter_user_scram_credentials::*, api_versions::*,
    consumer_group_describe::*, consumer_group_heartbeat::*, consumer_protocol::*, control_record::*, create_acls::*,
    create_delegation_token::*, create_partitions::*, create_topics::*, default_principal::*, delete_acls::*,
    delete_groups::*, delete_records::*, delete_share_group_offsets::*, delete_topics::*, describe_acls::*,
    describe_client_quotas::*, describe_cluster::*, describe_configs::*, describe_delegation_token::*,
    describe_groups::*, describe_log_dirs::*, describe_producers::*, describe_quorum::*,
    describe_share_group_offsets::*, describe_topic_partitions::*, describe_transactions::*,
    describe_user_scram_credentials::*, elect_leaders::*, end_txn::*, expire_delegation_token::*, fetch::*,
    find_coordinator::*, get_telemetry_subscriptions::*, header::*, heartbeat::*, incremental_alter_configs::*,
    init_producer_id::*, join_group::*, leave_group::*, list_config_resources::*, list_groups::*, list_offsets::*,
    list_partition_reassignments::*, list_transactions::*, metadata::*, offset_commit::*, offset_delete::*,
    offset_fetch::*, offset_for_leader_epoch::*, produce::*, push_telemetry::*, remove_raft_voter::*,
    renew_delegation_token::*, sasl_authenticate::*, sasl_handshake::*, share_acknowledge::*, share_fetch::*,
    share_group_describe::*, share_group_heartbeat::*, streams_group_describe::*, streams_group_heartbeat::*,
    streams_group_topology_description_update::*, sync_group::*, txn_offset_commit::*, unregister_broker::*,
    unregister_controller::*, update_features::*, update_raft_voter::*, write_txn_markers::*,
};

/// What a table needs in scope.
mod prelude {
    pub(super) use std::{fmt, ops::RangeInclusive, time::Duration};

    pub(super) use bytes::Bytes;

    pub(super) use crate::wire::{
        ApiKey, At, BrokerIds, DecodeError, EncodeError,
        Entity::{BrokerId, GroupId, ProducerId, TopicName, TransactionalId},
        ErrorCode, Field, FieldSpec, Kind, Message, Nullable, Place, Reader, Records, Request, Size, Str, Uuid, Writer,
        message::{body, default_of, empty, last_stable, message, plain_name, since, structure, throttle_of, versions},
        varint,
    };

    /// In place of a version: no version of the message is flexible.
    pub(super) const NEVER: i16 = i16::MAX;
}

#[cfg(test)]
mod tests;
