//! Kafka's error codes and what each asks of a client.
//!
//! Rules this file keeps:
//! - a code nobody here knows survives and prints;
//! - `is_retriable` and `refreshes_metadata` say what Java's `RetriableException` and `InvalidMetadataException` say;
//!   what a request does beyond that is decided in `machine/`.
//!
//! The codes are those of Kafka 4.3.1, compared with its client; 134 to 136 came with 4.4.

use std::fmt;

/// An error code of the protocol. Unknown codes survive and print.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    /// Whether the request may succeed if it is sent again (`RetriableException` in Java).
    pub const fn is_retriable(self) -> bool {
        self.what_helps().is_some()
    }

    /// Whether the client's view of the cluster is at fault and must be refreshed first
    /// (`InvalidMetadataException` in Java). Always retriable too.
    pub const fn refreshes_metadata(self) -> bool {
        matches!(self.what_helps(), Some(Refresh))
    }
}

impl fmt::Display for ErrorCode {
    /// The name, the number and what it means: `UNKNOWN_TOPIC_OR_PARTITION (3): the broker has no …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.0, self.message())
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "UNKNOWN" => write!(f, "error {}", self.0),
            name => f.write_str(name),
        }
    }
}

/// What helps against an error.
#[derive(Clone, Copy)]
enum Help {
    /// Sending the request again, after a while.
    Retry,
    /// Asking for metadata first, then sending it again, maybe elsewhere.
    Refresh,
}

use Help::{Refresh, Retry};

/// A line is the number, the name, what helps if anything does, and what it means.
macro_rules! error_codes {
    ($($code:literal $name:ident $($help:ident)? $message:literal,)*) => {
        impl ErrorCode {
            $(#[doc = concat!("`", stringify!($code), "`: ", $message, ".")] pub const $name: Self = Self($code);)*

            /// Every code that is known here.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Kafka's name of the code; `UNKNOWN` for codes that came later.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }

            /// What the code means, in a few words.
            pub const fn message(self) -> &'static str {
                match self.0 {
                    $($code => $message,)*
                    _ => "an error that came with a later version of Kafka",
                }
            }

            const fn what_helps(self) -> Option<Help> {
                match self.0 {
                    $($($code => Some($help),)?)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    -1 UNKNOWN_SERVER_ERROR "the broker failed in a way it does not explain",
    0 NONE "no error",
    1 OFFSET_OUT_OF_RANGE "the partition has no record at this offset",
    2 CORRUPT_MESSAGE Retry "a record batch is damaged, too large, or lacks a key in a compacted topic",
    3 UNKNOWN_TOPIC_OR_PARTITION Refresh "the broker has no such topic or partition",
    4 INVALID_FETCH_SIZE "the fetch size is invalid",
    5 LEADER_NOT_AVAILABLE Refresh "the partition has no leader at the moment",
    6 NOT_LEADER_OR_FOLLOWER Refresh "the broker does not lead this partition and does not follow it",
    7 REQUEST_TIMED_OUT Retry "the broker gave up waiting",
    8 BROKER_NOT_AVAILABLE "the broker is not available",
    9 REPLICA_NOT_AVAILABLE Refresh "the replica is not available for this partition",
    10 MESSAGE_TOO_LARGE "a record batch is larger than the topic allows",
    11 STALE_CONTROLLER_EPOCH "the controller has moved to another broker",
    12 OFFSET_METADATA_TOO_LARGE "the metadata stored with an offset is too large",
    13 NETWORK_EXCEPTION Refresh "the connection was lost before an answer came",
    14 COORDINATOR_LOAD_IN_PROGRESS Retry "the coordinator is still loading its state",
    15 COORDINATOR_NOT_AVAILABLE Retry "no coordinator is available",
    16 NOT_COORDINATOR Retry "the broker is not the coordinator of this group or transaction",
    17 INVALID_TOPIC_EXCEPTION "the topic's name is invalid or the topic may not be used like this",
    18 RECORD_LIST_TOO_LARGE "the record batches are larger than a segment of the log",
    19 NOT_ENOUGH_REPLICAS Retry "too few replicas are in sync to accept records",
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND Retry "the records were written, but to fewer replicas than required",
    21 INVALID_REQUIRED_ACKS "the number of required acknowledgements is invalid",
    22 ILLEGAL_GENERATION "the group has moved on to another generation",
    23 INCONSISTENT_GROUP_PROTOCOL "the member has no assignment protocol in common with its group",
    24 INVALID_GROUP_ID "the group's id is invalid",
    25 UNKNOWN_MEMBER_ID "the coordinator does not know this member",
    26 INVALID_SESSION_TIMEOUT "the session timeout is outside what the broker allows",
    27 REBALANCE_IN_PROGRESS "the group is rebalancing; the member must join again",
    28 INVALID_COMMIT_OFFSET_SIZE "the offsets to commit are too large",
    29 TOPIC_AUTHORIZATION_FAILED "access to the topic is denied",
    30 GROUP_AUTHORIZATION_FAILED "access to the group is denied",
    31 CLUSTER_AUTHORIZATION_FAILED "access to the cluster is denied",
    32 INVALID_TIMESTAMP "the timestamp is outside what the topic allows",
    33 UNSUPPORTED_SASL_MECHANISM "the broker does not have this SASL mechanism",
    34 ILLEGAL_SASL_STATE "the request does not fit the state of the SASL exchange",
    35 UNSUPPORTED_VERSION "the broker does not have this version of the request",
    36 TOPIC_ALREADY_EXISTS "a topic with this name exists",
    37 INVALID_PARTITIONS "the number of partitions is invalid",
    38 INVALID_REPLICATION_FACTOR "the replication factor is below 1 or above the number of brokers",
    39 INVALID_REPLICA_ASSIGNMENT "the assignment of replicas is invalid",
    40 INVALID_CONFIG "the configuration is invalid",
    41 NOT_CONTROLLER Retry "the broker is not the controller",
    42 INVALID_REQUEST "the request is malformed or went to a broker that cannot serve it",
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT "the message format on the broker is too old for the request",
    44 POLICY_VIOLATION "the request breaks a policy of the cluster",
    45 OUT_OF_ORDER_SEQUENCE_NUMBER "a record batch does not follow the last one of its producer",
    46 DUPLICATE_SEQUENCE_NUMBER "this record batch was written before",
    47 INVALID_PRODUCER_EPOCH "the producer's epoch is not the current one",
    48 INVALID_TXN_STATE "the transaction is not in a state that permits this",
    49 INVALID_PRODUCER_ID_MAPPING "the producer's id does not belong to its transactional id",
    50 INVALID_TRANSACTION_TIMEOUT "the transaction timeout is above what the broker allows",
    51 CONCURRENT_TRANSACTIONS Retry "another operation on the same transaction is still running",
    52 TRANSACTION_COORDINATOR_FENCED "a newer transaction coordinator has taken over",
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED "access to the transactional id is denied",
    54 SECURITY_DISABLED "the cluster has no authorizer",
    55 OPERATION_NOT_ATTEMPTED "the broker did not attempt this because another part of the request failed",
    56 KAFKA_STORAGE_ERROR Refresh "the broker could not reach its disk",
    57 LOG_DIR_NOT_FOUND "the broker has no such log directory",
    58 SASL_AUTHENTICATION_FAILED "the credentials were refused",
    59 UNKNOWN_PRODUCER_ID "the broker has no record of this producer id",
    60 REASSIGNMENT_IN_PROGRESS "the partition's replicas are being reassigned",
    61 DELEGATION_TOKEN_AUTH_DISABLED "delegation tokens are not enabled",
    62 DELEGATION_TOKEN_NOT_FOUND "the delegation token is not known",
    63 DELEGATION_TOKEN_OWNER_MISMATCH "the principal is neither owner nor renewer of the delegation token",
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED "delegation tokens cannot be handled over this connection",
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED "access to the delegation token is denied",
    66 DELEGATION_TOKEN_EXPIRED "the delegation token has expired",
    67 INVALID_PRINCIPAL_TYPE "the type of the principal is not supported",
    68 NON_EMPTY_GROUP "the group still has members",
    69 GROUP_ID_NOT_FOUND "the group does not exist",
    70 FETCH_SESSION_ID_NOT_FOUND Retry "the broker does not know this fetch session",
    71 INVALID_FETCH_SESSION_EPOCH Retry "the fetch session expects another epoch",
    72 LISTENER_NOT_FOUND Refresh "the partition's leader has no listener of the kind this connection uses",
    73 TOPIC_DELETION_DISABLED "topics cannot be deleted in this cluster",
    74 FENCED_LEADER_EPOCH Refresh "the leader epoch in the request is older than the partition's",
    75 UNKNOWN_LEADER_EPOCH Retry "the leader epoch in the request is newer than the broker knows",
    76 UNSUPPORTED_COMPRESSION_TYPE "the client does not support the compression of this partition",
    77 STALE_BROKER_EPOCH "the broker's own epoch has changed",
    78 OFFSET_NOT_AVAILABLE Retry "the new leader cannot vouch for offsets yet",
    79 MEMBER_ID_REQUIRED "the member must join again with the id it was given",
    80 PREFERRED_LEADER_NOT_AVAILABLE Refresh "the preferred leader is not available",
    81 GROUP_MAX_SIZE_REACHED "the group has its full number of members",
    82 FENCED_INSTANCE_ID "another member with the same instance id has taken over",
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE Refresh "no eligible leader is available",
    84 ELECTION_NOT_NEEDED Refresh "the partition needs no election",
    85 NO_REASSIGNMENT_IN_PROGRESS "no reassignment is in progress",
    86 GROUP_SUBSCRIBED_TO_TOPIC "the group is subscribed to the topic",
    87 INVALID_RECORD "the broker refused a record",
    88 UNSTABLE_OFFSET_COMMIT Retry "a transaction over these offsets is still open",
    89 THROTTLING_QUOTA_EXCEEDED Retry "a quota is used up",
    90 PRODUCER_FENCED "a newer producer with the same transactional id has taken over",
    91 RESOURCE_NOT_FOUND "the resource does not exist",
    92 DUPLICATE_RESOURCE "the request names a resource twice",
    93 UNACCEPTABLE_CREDENTIAL "the credential does not meet the cluster's demands",
    94 INCONSISTENT_VOTER_SET "the voters do not agree on who votes",
    95 INVALID_UPDATE_VERSION "the version of the feature is invalid",
    96 FEATURE_UPDATE_FAILED "the features could not be updated",
    97 PRINCIPAL_DESERIALIZATION_FAILURE "the broker could not read the principal of a forwarded request",
    98 SNAPSHOT_NOT_FOUND "the snapshot does not exist",
    99 POSITION_OUT_OF_RANGE "the position lies outside the snapshot",
    100 UNKNOWN_TOPIC_ID Refresh "the broker has no topic with this id",
    101 DUPLICATE_BROKER_REGISTRATION "the broker id is in use",
    102 BROKER_ID_NOT_REGISTERED "the broker id is not registered",
    103 INCONSISTENT_TOPIC_ID Refresh "the topic has another id than the request says",
    104 INCONSISTENT_CLUSTER_ID "the cluster has another id than the request says",
    105 TRANSACTIONAL_ID_NOT_FOUND "the transactional id does not exist",
    106 FETCH_SESSION_TOPIC_ID_ERROR Retry "the fetch session mixes topic names and topic ids",
    107 INELIGIBLE_REPLICA "a replica may not be in sync now",
    108 NEW_LEADER_ELECTED "a new leader was elected meanwhile",
    109 OFFSET_MOVED_TO_TIERED_STORAGE "the offset lies in tiered storage",
    110 FENCED_MEMBER_EPOCH "the member's epoch was fenced; it must give up its partitions and join again",
    111 UNRELEASED_INSTANCE_ID "the instance id is still held by another member",
    112 UNSUPPORTED_ASSIGNOR "the group's coordinator does not have this assignor",
    113 STALE_MEMBER_EPOCH "the member's epoch is old; it must learn the new one and try again",
    114 MISMATCHED_ENDPOINT_TYPE "the request went to an endpoint of the wrong type",
    115 UNSUPPORTED_ENDPOINT_TYPE "this type of endpoint is not supported",
    116 UNKNOWN_CONTROLLER_ID "the controller id is not known",
    117 UNKNOWN_SUBSCRIPTION_ID "the telemetry subscription is not known or outdated",
    118 TELEMETRY_TOO_LARGE "the telemetry is larger than the broker takes",
    119 INVALID_REGISTRATION "the controller refused the broker's registration",
    120 TRANSACTION_ABORTABLE "the transaction failed and must be aborted; the producer can go on after that",
    121 INVALID_RECORD_STATE "the share group's record is not in a state that permits this",
    122 SHARE_SESSION_NOT_FOUND Retry "the broker does not know this share session",
    123 INVALID_SHARE_SESSION_EPOCH Retry "the share session expects another epoch",
    124 FENCED_STATE_EPOCH "the share group's state has a newer epoch",
    125 INVALID_VOTER_KEY "the voter's key does not match",
    126 DUPLICATE_VOTER "the voter is in the set already",
    127 VOTER_NOT_FOUND "the voter is not in the set",
    128 INVALID_REGULAR_EXPRESSION "the regular expression is invalid",
    129 REBOOTSTRAP_REQUIRED "the client's view of the cluster is too old; it must bootstrap again",
    130 STREAMS_INVALID_TOPOLOGY "the streams topology is invalid",
    131 STREAMS_INVALID_TOPOLOGY_EPOCH "the epoch of the streams topology is invalid",
    132 STREAMS_TOPOLOGY_FENCED "the epoch of the streams topology is outdated",
    133 SHARE_SESSION_LIMIT_REACHED Retry "the broker has no room for another share session",
    134 GROUP_DELETION_FAILED "the group could not be deleted",
    135 STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED "the streams topology description could not be updated",
    136 CONTROLLER_ID_NOT_REGISTERED "the controller id is not registered",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_answer_as_java_does() {
        let table = [
            (ErrorCode::NONE, false, false),
            (ErrorCode::UNKNOWN_SERVER_ERROR, false, false),
            (ErrorCode::NOT_LEADER_OR_FOLLOWER, true, true),
            (ErrorCode::UNKNOWN_TOPIC_ID, true, true),
            (ErrorCode::REQUEST_TIMED_OUT, true, false),
            (ErrorCode::UNKNOWN_LEADER_EPOCH, true, false),
            (ErrorCode::PRODUCER_FENCED, false, false),
            (ErrorCode(999), false, false),
        ];
        for (code, retriable, refreshes) in table {
            assert_eq!((code.is_retriable(), code.refreshes_metadata()), (retriable, refreshes), "{code}");
        }
    }

    #[test]
    fn codes_are_complete_and_unknown_ones_print() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|code| code.0).collect();
        assert_eq!(codes, (-1..=136).collect::<Vec<_>>());
        let text = "UNKNOWN_TOPIC_OR_PARTITION (3): the broker has no such topic or partition";
        assert_eq!(ErrorCode(3).to_string(), text);
        let text = "UNKNOWN (999): an error that came with a later version of Kafka";
        assert_eq!(ErrorCode(999).to_string(), text);
        assert_eq!(format!("{:?} {:?}", ErrorCode(3), ErrorCode(999)), "UNKNOWN_TOPIC_OR_PARTITION error 999");
    }
}
