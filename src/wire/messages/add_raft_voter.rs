//! A controller that begins to vote (KIP-853).

use super::prelude::*;

message! {
    /// Asks the leader of the metadata log to add a voter.
    request AddRaftVoterRequest = ADD_RAFT_VOTER, versions 0..=1, flexible 0 => AddRaftVoterResponse {
        /// The cluster that the client takes this for; null for any.
        cluster_id: Option<Str> = empty()    => since(0).nullable(0),
        /// How many milliseconds the voter may take to be added.
        timeout_ms: i32                      => since(0),
        /// The voter.
        voter_id: i32                        => since(0),
        /// The voter's log directory; with its id it names one voter for good.
        voter_directory_id: Uuid             => since(0),
        /// Where the voter listens.
        listeners: Vec<AddRaftVoterListener> => since(0),
        /// Whether the answer waits until the change is replicated; otherwise only until it is in the leader's log.
        ack_when_committed: bool = true      => since(1),
    }

    /// Where the voter listens.
    struct AddRaftVoterListener {
        /// The listener's name.
        name: Str => since(0),
        /// Its host.
        host: Str => since(0),
        /// Its port.
        port: u16 => since(0),
    }
}

message! {
    /// Whether the voter was added.
    response AddRaftVoterResponse, versions 0..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0).ignorable(),
    }
}
