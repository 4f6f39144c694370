//! Acquiring records as a member of a share group, and saying what became of earlier ones (KIP-932).

use super::prelude::*;

message! {
    /// Asks a leader for records, and acknowledges some that were acquired before. Version 2 has modes of acquiring
    /// (KIP-1206) and renewal (KIP-1222).
    request ShareFetchRequest = SHARE_FETCH, versions 1..=2, flexible 0 => ShareFetchResponse {
        /// The group.
        group_id: Option<Str>                                => since(0).nullable(0).entity(GroupId),
        /// The member.
        member_id: Option<Str> = empty()                     => since(0).nullable(0),
        /// The request's number in the share session: 0 opens one, −1 closes it.
        share_session_epoch: i32                             => since(0),
        /// How many milliseconds the broker may wait for enough records.
        max_wait_ms: i32                                     => since(0),
        /// How many bytes are enough.
        min_bytes: i32                                       => since(0),
        /// How many bytes the answer may have; the first batch comes whole even if it is larger (KIP-74).
        max_bytes: i32 = i32::MAX                            => since(0),
        /// How many records are wanted at most; the last batch may go beyond.
        max_records: i32                                     => since(1),
        /// How many records the runs of acquired records should have.
        batch_size: i32                                      => since(1),
        /// Whether whole batches are acquired (0), or no more records than wanted (1) (KIP-1206).
        share_acquire_mode: i8                               => since(2).ignorable(),
        /// Whether some of the acknowledgements are renewals (KIP-1222).
        is_renew_ack: bool                                   => since(2),
        /// The topics.
        topics: Vec<ShareFetchTopic>                         => since(0),
        /// Partitions that leave the share session.
        forgotten_topics_data: Vec<ShareFetchForgottenTopic> => since(0),
    }

    /// What is asked and acknowledged of one topic.
    struct ShareFetchTopic {
        /// The topic's id.
        topic_id: Uuid                       => since(0),
        /// The partitions.
        partitions: Vec<ShareFetchPartition> => since(0),
    }

    /// Partitions that leave the share session.
    struct ShareFetchForgottenTopic {
        /// The topic's id.
        topic_id: Uuid       => since(0),
        /// The partitions that leave.
        partitions: Vec<i32> => since(0),
    }

    /// What is asked and acknowledged of one partition.
    struct ShareFetchPartition {
        /// The partition.
        partition_index: i32                               => since(0),
        /// How many bytes of this partition the answer may have. Version 0 only.
        partition_max_bytes: i32                           => versions(0, 0),
        /// What became of records acquired before.
        acknowledgement_batches: Vec<AcknowledgementBatch> => since(0),
    }

    /// A run of acquired records and what became of them.
    struct AcknowledgementBatch {
        /// The first record's offset.
        first_offset: i64          => since(0),
        /// The last record's offset.
        last_offset: i64           => since(0),
        /// One for each record, or one for all: 0 no such record, 1 accepted, 2 released for others, 3 rejected for
        /// good, 4 the lock renewed (KIP-1222).
        acknowledge_types: Vec<i8> => since(0),
    }
}

message! {
    /// Record batches, which of their records the member has acquired, and whether its acknowledgements counted.
    response ShareFetchResponse, versions 1..=2, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                       => since(0),
        /// The error, or none.
        error_code: ErrorCode                       => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                  => since(0).nullable(0),
        /// For how many milliseconds acquired records are the member's own.
        acquisition_lock_timeout_ms: i32            => since(1),
        /// What was acquired from each topic.
        responses: Vec<ShareFetchableTopicResponse> => since(0),
        /// Where the brokers listen that were named as leaders.
        node_endpoints: Vec<ShareFetchNodeEndpoint> => since(0),
    }

    /// What was acquired from one topic.
    struct ShareFetchableTopicResponse {
        /// The topic's id.
        topic_id: Uuid                           => since(0),
        /// The partitions.
        partitions: Vec<ShareFetchPartitionData> => since(0),
    }

    /// Where a broker listens that was named as leader (KIP-951).
    struct ShareFetchNodeEndpoint {
        /// The broker.
        node_id: i32      => since(0).entity(BrokerId),
        /// Its host.
        host: Str         => since(0),
        /// Its port.
        port: i32         => since(0),
        /// Its rack.
        rack: Option<Str> => since(0).nullable(0),
    }

    /// What was acquired from one partition.
    struct ShareFetchPartitionData {
        /// The partition.
        partition_index: i32                       => since(0),
        /// The error, or none.
        error_code: ErrorCode                      => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                 => since(0).nullable(0),
        /// Why the acknowledgements did not count, or none.
        acknowledge_error_code: ErrorCode          => since(0),
        /// What the broker says about that.
        acknowledge_error_message: Option<Str>     => since(0).nullable(0),
        /// Who leads the partition now, where the request went to the wrong broker.
        current_leader: ShareFetchLeaderIdAndEpoch => since(0),
        /// The record batches.
        records: Records                           => since(0),
        /// Which of the records the member has acquired.
        acquired_records: Vec<AcquiredRecords>     => since(0),
    }

    /// A leader, named in passing (KIP-951).
    struct ShareFetchLeaderIdAndEpoch {
        /// The leader, or −1 if there is none.
        leader_id: i32    => since(0),
        /// The leader epoch, or −1 if it is not known.
        leader_epoch: i32 => since(0),
    }

    /// A run of records that the member has acquired.
    struct AcquiredRecords {
        /// The first record's offset.
        first_offset: i64   => since(0),
        /// The last record's offset.
        last_offset: i64    => since(0),
        /// How often these records have been delivered, this time included.
        delivery_count: i16 => since(0),
    }
}
