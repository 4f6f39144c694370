//! What became of records that a share group's member has acquired (KIP-932).

use super::{prelude::*, share_fetch::AcknowledgementBatch};

message! {
    /// Acknowledges records without asking for more. Version 2 has renewal (KIP-1222).
    request ShareAcknowledgeRequest = SHARE_ACKNOWLEDGE, versions 1..=2, flexible 0 => ShareAcknowledgeResponse {
        /// The group.
        group_id: Option<Str>            => since(0).nullable(0).entity(GroupId),
        /// The member.
        member_id: Option<Str> = empty() => since(0).nullable(0),
        /// The request's number in the share session: 0 opens one, −1 closes it.
        share_session_epoch: i32         => since(0),
        /// Whether some of the acknowledgements are renewals (KIP-1222).
        is_renew_ack: bool               => since(2),
        /// The topics.
        topics: Vec<AcknowledgeTopic>    => since(0),
    }

    /// What is acknowledged of one topic.
    struct AcknowledgeTopic {
        /// The topic's id.
        topic_id: Uuid                        => since(0),
        /// The partitions.
        partitions: Vec<AcknowledgePartition> => since(0),
    }

    /// What is acknowledged of one partition.
    struct AcknowledgePartition {
        /// The partition.
        partition_index: i32                               => since(0),
        /// What became of records acquired before.
        acknowledgement_batches: Vec<AcknowledgementBatch> => since(0),
    }
}

message! {
    /// Whether the acknowledgements counted.
    response ShareAcknowledgeResponse, versions 1..=2, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                             => since(0),
        /// The error, or none.
        error_code: ErrorCode                             => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                        => since(0).nullable(0),
        /// For how many milliseconds acquired records are the member's own.
        acquisition_lock_timeout_ms: i32                  => since(2).ignorable(),
        /// The outcome for each topic.
        responses: Vec<ShareAcknowledgeTopicResponse>     => since(0),
        /// Where the brokers listen that were named as leaders.
        node_endpoints: Vec<ShareAcknowledgeNodeEndpoint> => since(0),
    }

    /// The outcome for one topic.
    struct ShareAcknowledgeTopicResponse {
        /// The topic's id.
        topic_id: Uuid                                 => since(0),
        /// The partitions.
        partitions: Vec<ShareAcknowledgePartitionData> => since(0),
    }

    /// Where a broker listens that was named as leader (KIP-951).
    struct ShareAcknowledgeNodeEndpoint {
        /// The broker.
        node_id: i32      => since(0).entity(BrokerId),
        /// Its host.
        host: Str         => since(0),
        /// Its port.
        port: i32         => since(0),
        /// Its rack.
        rack: Option<Str> => since(0).nullable(0),
    }

    /// The outcome for one partition.
    struct ShareAcknowledgePartitionData {
        /// The partition.
        partition_index: i32                             => since(0),
        /// The error, or none.
        error_code: ErrorCode                            => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                       => since(0).nullable(0),
        /// Who leads the partition now, where the request went to the wrong broker.
        current_leader: ShareAcknowledgeLeaderIdAndEpoch => since(0),
    }

    /// A leader, named in passing (KIP-951).
    struct ShareAcknowledgeLeaderIdAndEpoch {
        /// The leader, or −1 if there is none.
        leader_id: i32    => since(0),
        /// The leader epoch, or −1 if it is not known.
        leader_epoch: i32 => since(0),
    }
}
