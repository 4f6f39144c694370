//! The tables of the messages, one file to an API.
//!
//! Rules this folder keeps: names are those of Kafka's specifications in Rust's case; where two specifications use
//! one name for two structures, the message's name stands in front.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod allocate_producer_ids;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_user_scram_credentials;
mod api_versions;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
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
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod expire_delegation_token;
mod fetch;
mod find_coordinator;
mod header;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
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
mod renew_delegation_token;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_txn_markers;

pub use {
    add_offsets_to_txn::*, add_partitions_to_txn::*, allocate_producer_ids::*, alter_client_quotas::*,
    alter_configs::*, alter_partition::*, alter_partition_reassignments::*, alter_replica_log_dirs::*,
    alter_user_scram_credentials::*, api_versions::*, create_acls::*, create_delegation_token::*, create_partitions::*,
    create_topics::*, delete_acls::*, delete_groups::*, delete_records::*, delete_topics::*, describe_acls::*,
    describe_client_quotas::*, describe_cluster::*, describe_configs::*, describe_delegation_token::*,
    describe_groups::*, describe_log_dirs::*, describe_producers::*, describe_quorum::*, describe_transactions::*,
    describe_user_scram_credentials::*, elect_leaders::*, end_txn::*, expire_delegation_token::*, fetch::*,
    find_coordinator::*, header::*, heartbeat::*, incremental_alter_configs::*, init_producer_id::*, join_group::*,
    leave_group::*, list_groups::*, list_offsets::*, list_partition_reassignments::*, list_transactions::*,
    metadata::*, offset_commit::*, offset_delete::*, offset_fetch::*, offset_for_leader_epoch::*, produce::*,
    renew_delegation_token::*, sasl_authenticate::*, sasl_handshake::*, sync_group::*, txn_offset_commit::*,
    unregister_broker::*, update_features::*, write_txn_markers::*,
};

/// What a table needs in scope.
mod prelude {
    pub(super) use std::{fmt, ops::RangeInclusive, time::Duration};

    pub(super) use bytes::Bytes;

    pub(super) use crate::wire::{
        ApiKey, At, DecodeError, EncodeError,
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
