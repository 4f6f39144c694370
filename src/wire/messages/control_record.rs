//! What control records say: their key, and their values.
//!
//! Rules this file keeps:
//! - the key and the marker of a transaction's end have their version in front ([`crate::wire::decode_versioned`]);
//! - the values of the metadata log's own control records have it as their first field instead: whoever reads them
//!   takes the first two bytes for the version of the body ([`crate::wire::decode_body`]).

use super::prelude::*;

message! {
    /// The key of every control record.
    data ControlRecordTypeSchema, versions 0..=0, flexible NEVER {
        /// What the record is: 0 abort, 1 commit, 2 leader change, 3 snapshot header, 4 snapshot footer, 5 KRaft
        /// version, 6 voters.
        r#type: i16 => since(0),
    }
}

message! {
    /// The value of the control records that end a transaction in a partition (KIP-98).
    data EndTxnMarker, versions 0..=0, flexible NEVER {
        /// The epoch of the transaction coordinator; an older one than seen before is fenced.
        coordinator_epoch: i32 => since(0),
    }
}

message! {
    /// The first record of every epoch of the metadata log.
    data LeaderChangeMessage, versions 0..=1, flexible 0 {
        /// The version of this structure.
        version: i16                                   => since(0),
        /// The leader.
        leader_id: i32                                 => since(0).entity(BrokerId),
        /// The voters.
        voters: Vec<LeaderChangeMessageVoter>          => since(0),
        /// The voters that voted for it.
        granting_voters: Vec<LeaderChangeMessageVoter> => since(0),
    }

    /// A voter.
    struct LeaderChangeMessageVoter {
        /// The voter.
        voter_id: i32            => since(0),
        /// The voter's log directory (KIP-853).
        voter_directory_id: Uuid => since(1),
    }
}

message! {
    /// The first record of a snapshot of the metadata log (KIP-630).
    data SnapshotHeaderRecord, versions 0..=0, flexible 0 {
        /// The version of this structure.
        version: i16                      => since(0),
        /// When the last record in the snapshot was appended, in milliseconds since 1970.
        last_contained_log_timestamp: i64 => since(0),
    }
}

message! {
    /// The last record of a snapshot of the metadata log (KIP-630).
    data SnapshotFooterRecord, versions 0..=0, flexible 0 {
        /// The version of this structure.
        version: i16 => since(0),
    }
}

message! {
    /// The version of KRaft from here on (KIP-853).
    data KRaftVersionRecord, versions 0..=0, flexible 0 {
        /// The version of this structure.
        version: i16        => since(0),
        /// The version of KRaft: 0 with fixed voters, 1 with voters that change.
        k_raft_version: i16 => since(0),
    }
}

message! {
    /// The controllers that vote from here on (KIP-853).
    data VotersRecord, versions 0..=0, flexible 0 {
        /// The version of this structure.
        version: i16                   => since(0),
        /// The voters.
        voters: Vec<VotersRecordVoter> => since(0),
    }

    /// A voter.
    struct VotersRecordVoter {
        /// The voter.
        voter_id: i32                                           => since(0).entity(BrokerId),
        /// The voter's log directory; with its id it names one voter for good.
        voter_directory_id: Uuid                                => since(0),
        /// Where the voter listens.
        endpoints: Vec<VotersRecordEndpoint>                    => since(0),
        /// Which versions of KRaft the voter speaks.
        k_raft_version_feature: VotersRecordKRaftVersionFeature => since(0),
    }

    /// Where a voter listens.
    struct VotersRecordEndpoint {
        /// The listener's name.
        name: Str => since(0),
        /// Its host.
        host: Str => since(0),
        /// Its port.
        port: u16 => since(0),
    }

    /// Which versions of KRaft a voter speaks.
    struct VotersRecordKRaftVersionFeature {
        /// The lowest version.
        min_supported_version: i16 => since(0),
        /// The highest version.
        max_supported_version: i16 => since(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode_body, decode_versioned, encode_versioned};

    #[test]
    fn the_marker_of_a_commit_is_what_brokers_write() {
        let key: Bytes = Bytes::from_static(&[0, 0, 0, 1]);
        assert_eq!(decode_versioned(key.clone()), Ok((0, ControlRecordTypeSchema { r#type: 1 })));
        assert_eq!(encode_versioned(&ControlRecordTypeSchema { r#type: 1 }, 0), Ok(key));
        let value: Bytes = Bytes::from_static(&[0, 0, 0, 0, 0, 9]);
        assert_eq!(decode_versioned(value.clone()), Ok((0, EndTxnMarker { coordinator_epoch: 9 })));
        assert_eq!(encode_versioned(&EndTxnMarker { coordinator_epoch: 9 }, 0), Ok(value));
        // A version of the marker that nobody has written yet.
        let later: Bytes = Bytes::from_static(&[0, 1, 0, 0, 0, 9, 0, 2]);
        assert_eq!(decode_versioned(later), Ok((1, EndTxnMarker { coordinator_epoch: 9 })));
    }

    #[test]
    fn a_leader_change_begins_with_its_own_version() {
        let directory = [7; 16];
        for version in [0i16, 1] {
            let voter = [&[0, 0, 0, 3][..], if version >= 1 { &directory } else { &[] }, &[0]].concat();
            let body = [&version.to_be_bytes()[..], &[0, 0, 0, 3, 2], &voter, &[1, 0]].concat();
            let message: LeaderChangeMessage = decode_body(body.into(), version).expect("a leader change");
            assert_eq!((message.version, message.leader_id, message.granting_voters.len()), (version, 3, 0));
            let expected = if version >= 1 { Uuid(u128::from_be_bytes(directory)) } else { Uuid::default() };
            assert_eq!(message.voters, [LeaderChangeMessageVoter { voter_id: 3, voter_directory_id: expected }]);
        }
    }
}
