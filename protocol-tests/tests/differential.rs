//! milena's codec against the crate kafka-protocol: the same bytes, both ways, for random values of every message in
//! every version that both have.
//!
//! Three writers meet here: the generator (from the tables), milena, and kafka-protocol. A body has to come out of
//! each as it went in.

use bytes::Bytes;
use milena::wire::{self, messages::*};
use protocol_tests::{
    catalog::{Table, catalog},
    random, show,
};

/// How many values of each message in each version.
const VALUES: u64 = 1_000;

/// What kafka-protocol 0.18 does not cover or gets wrong: message, versions, why.
const EXCEPTIONS: &[(&str, std::ops::RangeInclusive<i16>, &str)] =
    &[("LeaderChangeMessage", 0..=1, SHADOWED), ("VotersRecord", 0..=0, SHADOWED)];

/// A field of its name hides the version that is asked for, and the structures behind it are read in that "version".
const SHADOWED: &str = "kafka-protocol reads the voters in the version that the field `version` holds";

#[test]
fn both_codecs_give_back_the_same_bytes() {
    let mut compared = 0;
    for table in catalog() {
        let shared = *table.versions.start().max(table.their_versions.start())
            ..=*table.versions.end().min(table.their_versions.end());
        for version in table.versions.clone() {
            let excepted =
                EXCEPTIONS.iter().any(|(name, versions, _)| *name == table.name && versions.contains(&version));
            let theirs = shared.contains(&version) && !excepted;
            (0..VALUES).for_each(|number| compare(&table, version, seed(&table, version, number), theirs));
            compared += u64::from(theirs) * VALUES;
        }
    }
    eprintln!("{compared} values went through both codecs");
}

fn seed(table: &Table, version: i16, number: u64) -> u64 {
    let name = table.name.bytes().fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    name.wrapping_mul(1_000_003).wrapping_add((version as u64) << 32).wrapping_add(number)
}

fn compare(table: &Table, version: i16, seed: u64, theirs: bool) {
    let body = Bytes::from(random::body(table, version, seed));
    let what = || format!("{} version {version}, seed {seed}\n{}", table.name, show(table, version, &body));
    let ours = (table.ours)(body.clone(), version);
    assert_eq!(ours.as_ref(), Ok(&body), "milena: {}", what());
    if theirs {
        let theirs = (table.theirs)(body.clone(), version);
        assert_eq!(theirs.as_ref(), Ok(&body), "kafka-protocol: {}", what());
    }
}

/// Which versions kafka-protocol cannot check, so that nobody takes them for checked.
#[test]
fn what_the_other_codec_does_not_have_is_known() {
    let unchecked: Vec<(&str, i16)> = catalog()
        .iter()
        .flat_map(|table| {
            let theirs = table.their_versions.clone();
            table.versions.clone().filter(move |version| !theirs.contains(version)).map(|version| (table.name, version))
        })
        .collect();
    let expected = [
        ("ListOffsetsRequest", 11),
        ("ListOffsetsResponse", 11),
        ("OffsetCommitRequest", 10),
        ("OffsetFetchRequest", 10),
        ("ApiVersionsRequest", 5),
        ("ApiVersionsResponse", 5),
        ("InitProducerIdRequest", 6),
        ("WriteTxnMarkersRequest", 2),
        ("WriteTxnMarkersResponse", 2),
        ("TxnOffsetCommitRequest", 6),
        ("TxnOffsetCommitResponse", 6),
        ("DescribeLogDirsRequest", 5),
        ("DescribeLogDirsResponse", 5),
        ("DeleteGroupsRequest", 3),
        ("DeleteGroupsResponse", 3),
        ("ShareFetchRequest", 2),
        ("ShareFetchResponse", 2),
        ("ShareAcknowledgeRequest", 2),
        ("ShareAcknowledgeResponse", 2),
        ("AddRaftVoterRequest", 1),
        ("AddRaftVoterResponse", 1),
        ("StreamsGroupHeartbeatRequest", 0),
        ("StreamsGroupHeartbeatRequest", 1),
        ("StreamsGroupHeartbeatResponse", 0),
        ("StreamsGroupHeartbeatResponse", 1),
        ("StreamsGroupDescribeRequest", 0),
        ("StreamsGroupDescribeRequest", 1),
        ("StreamsGroupDescribeResponse", 0),
        ("StreamsGroupDescribeResponse", 1),
        ("DescribeShareGroupOffsetsRequest", 1),
        ("DescribeShareGroupOffsetsResponse", 1),
        ("StreamsGroupTopologyDescriptionUpdateRequest", 0),
        ("StreamsGroupTopologyDescriptionUpdateResponse", 0),
        ("UnregisterControllerRequest", 0),
        ("UnregisterControllerResponse", 0),
        ("StickyAssignorUserData", 0),
        ("StickyAssignorUserData", 1),
        ("CooperativeStickyAssignorUserData", 0),
        ("ControlRecordTypeSchema", 0),
    ];
    assert_eq!(unchecked, expected, "kafka-protocol ends at Kafka 4.1, and has no streams groups");
}

#[test]
fn request_headers_are_read_by_the_other_codec() {
    use kafka_protocol::protocol::{Decodable, decode_request_header_from_buffer};
    for version in <MetadataRequest as wire::Message>::VERSIONS {
        let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        let frame = wire::encode_request(&request, version, 77, Some("milena")).expect("a frame");
        let mut bytes = wire::Records::from_pieces(frame.into_pieces()).into_bytes().slice(4..);
        let header = decode_request_header_from_buffer(&mut bytes).expect("a header");
        assert_eq!((header.request_api_key, header.request_api_version, header.correlation_id), (3, version, 77));
        assert_eq!(header.client_id.as_deref(), Some("milena"));
        kafka_protocol::messages::MetadataRequest::decode(&mut bytes, version).expect("a body");
        assert!(bytes.is_empty());
    }
}

/// The names and the answers of the error codes, as far as kafka-protocol has them.
#[test]
fn error_codes_are_those_of_the_other_codec() {
    use kafka_protocol::ResponseError;
    /// CONCURRENT_TRANSACTIONS is a `RetriableException` in the Java client of 4.3.1; kafka-protocol's list is older.
    const NOT_RETRIABLE_THERE: &[i16] = &[51];
    let letters = |name: &str| name.replace('_', "").to_lowercase();
    let (mut compared, mut differences) = (0, Vec::new());
    for code in wire::ErrorCode::ALL {
        let Some(theirs) = ResponseError::try_from_code(code.0) else { continue };
        if let ResponseError::Unknown(_) = theirs {
            continue;
        }
        compared += 1;
        assert_eq!(letters(code.name()), letters(&format!("{theirs:?}")), "{}", code.0);
        differences.extend((code.is_retriable() != theirs.is_retriable()).then_some(code.0));
    }
    assert_eq!(differences, NOT_RETRIABLE_THERE);
    assert!(compared > 100, "{compared} codes compared");
}
