//! What members of a classic consumer group and its leader tell each other, in bytes that the broker passes on.
//!
//! Rules this file keeps:
//! - subscription and assignment have their version in front ([`crate::wire::decode_versioned`]); a later version only
//!   adds fields at the end, so it is read as the newest known;
//! - the user data of the sticky assignors has no version in front: what the bytes are is told by their length.

use super::prelude::*;

message! {
    /// What a member of a classic consumer group tells its leader: the metadata of JoinGroup.
    data ConsumerProtocolSubscription, versions 0..=3, flexible NEVER {
        /// The names of the topics that the member wants.
        topics: Vec<Str>                                                  => since(0),
        /// What the assignor adds in words of its own; null if nothing.
        user_data: Option<Bytes>                                          => since(0).nullable(0),
        /// The partitions that the member has, for assignors that let it keep them (KIP-429).
        owned_partitions: Vec<ConsumerProtocolSubscriptionTopicPartition> => since(1).ignorable(),
        /// The generation in which the member got them, or −1 (KIP-792).
        generation_id: i32 = -1                                           => since(2).ignorable(),
        /// The member's rack; null if it has none (KIP-881).
        rack_id: Option<Str>                                              => since(3).nullable(3).ignorable(),
    }

    /// Partitions of one topic.
    struct ConsumerProtocolSubscriptionTopicPartition {
        /// The topic's name.
        topic: Str           => since(1).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(1),
    }
}

message! {
    /// What the leader of a classic consumer group assigns to a member: the assignment of SyncGroup.
    data ConsumerProtocolAssignment, versions 0..=3, flexible NEVER {
        /// The partitions that the member shall read.
        assigned_partitions: Vec<ConsumerProtocolAssignmentTopicPartition> => since(0),
        /// What the assignor adds in words of its own; null if nothing.
        user_data: Option<Bytes>                                           => since(0).nullable(0),
    }

    /// Partitions of one topic.
    struct ConsumerProtocolAssignmentTopicPartition {
        /// The topic's name.
        topic: Str           => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}

message! {
    /// What the sticky assignor lets a member remember: the user data of its subscription.
    data StickyAssignorUserData, versions 0..=1, flexible NEVER {
        /// The partitions that the member was assigned.
        previous_assignment: Vec<StickyAssignorTopicAssignment> => since(0),
        /// The generation of that assignment, or −1; the newest wins where two members name one partition (KIP-341).
        generation: i32 = -1                                    => since(1).ignorable(),
    }

    /// Partitions of one topic.
    struct StickyAssignorTopicAssignment {
        /// The topic's name.
        topic: Str           => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}

impl StickyAssignorUserData {
    /// Reads the user data of a member, and tells in which version it was written. Written in version 0, the bytes end
    /// before the generation; whatever follows it came later than version 1 and is left alone.
    ///
    /// # Errors
    /// The bytes are user data in no version, so another assignor wrote them: then the member remembers nothing.
    pub fn decode_any(bytes: Bytes) -> Result<(i16, Self), DecodeError> {
        if let Ok(data) = Self::decode(&mut Reader::new(&bytes), 1) {
            return Ok((1, data));
        }
        let mut input = Reader::new(&bytes);
        let data = Self::decode(&mut input, 0)?;
        input.finish()?;
        Ok((0, data))
    }
}

message! {
    /// What the cooperative sticky assignor lets a member remember. The partitions are in the subscription itself.
    data CooperativeStickyAssignorUserData, versions 0..=0, flexible NEVER {
        /// The generation in which the member got its partitions, or −1.
        generation: i32 = -1 => since(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DecodeFault, decode_versioned, encode_body, encode_versioned};

    fn subscription() -> ConsumerProtocolSubscription {
        let owned = ConsumerProtocolSubscriptionTopicPartition { topic: "t".into(), partitions: vec![7] };
        ConsumerProtocolSubscription {
            topics: vec!["t".into()],
            user_data: Some(Bytes::from_static(b"u")),
            owned_partitions: vec![owned],
            generation_id: 5,
            rack_id: Some("r".into()),
        }
    }

    #[test]
    fn a_subscription_carries_what_its_version_has() {
        let (topics, user_data): (&[u8], &[u8]) = (b"\0\0\0\x01\0\x01t", b"\0\0\0\x01u");
        let owned: &[u8] = b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x07";
        let (generation, rack): (&[u8], &[u8]) = (b"\0\0\0\x05", b"\0\x01r");
        for (version, later) in [&[][..], &[owned], &[owned, generation], &[owned, generation, rack]].iter().enumerate()
        {
            let version = version as i16;
            let body = [topics, user_data, &later.concat()].concat();
            let written = encode_versioned(&subscription(), version).expect("written");
            assert_eq!(written, [&version.to_be_bytes()[..], &body].concat());
            let read = decode_versioned::<ConsumerProtocolSubscription>(written).expect("read");
            let default = ConsumerProtocolSubscription::default();
            let expected = ConsumerProtocolSubscription {
                owned_partitions: if version >= 1 { subscription().owned_partitions } else { default.owned_partitions },
                generation_id: if version >= 2 { 5 } else { -1 },
                rack_id: if version >= 3 { Some("r".into()) } else { None },
                ..subscription()
            };
            assert_eq!(read, (version, expected));
        }
    }

    #[test]
    fn a_subscription_of_a_later_version_is_read_as_far_as_it_is_known() {
        let newest = encode_versioned(&subscription(), 3).expect("written");
        let later: Bytes = [&[0, 4][..], &newest[2..], b"what version 4 adds"].concat().into();
        assert_eq!(decode_versioned(later).expect("read"), (4, subscription()));
        // In a version that is known nothing may follow, and one that is negative is none.
        let known: Bytes = [&newest[..], b"!"].concat().into();
        let fault = decode_versioned::<ConsumerProtocolSubscription>(known).map_err(|error| error.fault);
        assert_eq!(fault, Err(DecodeFault::Leftover(1)));
        let negative: Bytes = [&[0xff, 0xff][..], &newest[2..]].concat().into();
        let fault = decode_versioned::<ConsumerProtocolSubscription>(negative).map_err(|error| error.fault);
        assert_eq!(fault, Err(DecodeFault::Version(-1)));
    }

    #[test]
    fn an_assignment_of_a_later_version_is_read_as_far_as_it_is_known() {
        let of_t = ConsumerProtocolAssignmentTopicPartition { topic: "t".into(), partitions: vec![0, 2] };
        let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![of_t], user_data: None };
        let written = encode_versioned(&assignment, 0).expect("written");
        assert_eq!(written, b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x02\xff\xff\xff\xff"[..]);
        let later: Bytes = [&[0, 9][..], &written[2..], b"more"].concat().into();
        assert_eq!(decode_versioned(later).expect("read"), (9, assignment));
    }

    #[test]
    fn sticky_user_data_is_told_by_its_length() {
        let of_t = StickyAssignorTopicAssignment { topic: "t".into(), partitions: vec![3] };
        let data = StickyAssignorUserData { previous_assignment: vec![of_t], generation: 8 };
        let older = StickyAssignorUserData { generation: -1, ..data.clone() };
        let [v0, v1] = [0, 1].map(|version| encode_body(&data, version).expect("written"));
        assert_eq!(v1, [&v0[..], &[0, 0, 0, 8]].concat());
        assert_eq!(StickyAssignorUserData::decode_any(v0.clone()), Ok((0, older)));
        assert_eq!(StickyAssignorUserData::decode_any(v1.clone()), Ok((1, data.clone())));
        let later: Bytes = [&v1[..], b"what version 2 adds"].concat().into();
        assert_eq!(StickyAssignorUserData::decode_any(later), Ok((1, data)));
        // Neither of them: cut, between the two, and of another assignor.
        let generation = CooperativeStickyAssignorUserData { generation: 8 };
        let others =
            [v0.slice(..v0.len() - 1), v1.slice(..v1.len() - 1), encode_body(&generation, 0).expect("written")];
        for bytes in others {
            assert!(StickyAssignorUserData::decode_any(bytes.clone()).is_err(), "{bytes:?}");
        }
    }
}
