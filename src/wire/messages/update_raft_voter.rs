//! A voter whose endpoints or versions have changed (KIP-853).

use super::prelude::*;

message! {
    /// A voter tells the leader of the metadata log where it listens and what it speaks. Controllers only.
    request UpdateRaftVoterRequest = UPDATE_RAFT_VOTER, versions 0..=0, flexible 0 => UpdateRaftVoterResponse {
        /// The cluster that the voter takes this for; null for any.
        cluster_id: Option<Str> = empty()                          => since(0).nullable(0),
        /// The leader epoch that the voter knows, or −1.
        current_leader_epoch: i32                                  => since(0),
        /// The voter.
        voter_id: i32                                              => since(0),
        /// The voter's log directory; with its id it names one voter for good.
        voter_directory_id: Uuid                                   => since(0),
        /// Where the voter listens.
        listeners: Vec<UpdateRaftVoterListener>                    => since(0),
        /// Which versions of KRaft the voter speaks.
        k_raft_version_feature: UpdateRaftVoterKRaftVersionFeature => since(0),
    }

    /// Where the voter listens.
    struct UpdateRaftVoterListener {
        /// The listener's name.
        name: Str => since(0),
        /// Its host.
        host: Str => since(0),
        /// Its port.
        port: u16 => since(0),
    }

    /// Which versions of KRaft a voter speaks.
    struct UpdateRaftVoterKRaftVersionFeature {
        /// The lowest version.
        min_supported_version: i16 => since(0),
        /// The highest version.
        max_supported_version: i16 => since(0),
    }
}

message! {
    /// Whether the change was taken.
    response UpdateRaftVoterResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32         => since(0),
        /// The error, or none.
        error_code: ErrorCode         => since(0),
        /// Who leads the metadata log, if it is known.
        current_leader: CurrentLeader => since(0).tag(0),
    }

    /// The leader of the metadata log.
    struct CurrentLeader {
        /// The leader, or −1 if there is none.
        leader_id: i32 = -1    => since(0).entity(BrokerId),
        /// The leader epoch, or −1 if it is not known.
        leader_epoch: i32 = -1 => since(0),
        /// Its host.
        host: Str              => since(0),
        /// Its port.
        port: i32              => since(0),
    }
}
