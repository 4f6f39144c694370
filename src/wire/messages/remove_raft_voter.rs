//! A controller that no longer votes (KIP-853).

use super::prelude::*;

message! {
    /// Asks the leader of the metadata log to remove a voter.
    request RemoveRaftVoterRequest = REMOVE_RAFT_VOTER, versions 0..=0, flexible 0 => RemoveRaftVoterResponse {
        /// The cluster that the client takes this for; null for any.
        cluster_id: Option<Str> = empty() => since(0).nullable(0),
        /// The voter.
        voter_id: i32                     => since(0),
        /// The voter's log directory; with its id it names one voter for good.
        voter_directory_id: Uuid          => since(0),
    }
}

message! {
    /// Whether the voter was removed.
    response RemoveRaftVoterResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0).ignorable(),
    }
}
