//! milena's codec against the crate kafka-protocol: the same bytes, both ways, for random values of every message in
//! every version that both have.
//!
//! Three writers meet here: the generator (from the tables), milena, and kafka-protocol. A body has to come out of
//! each as it went in.

use bytes::Bytes;
use milena::wire::{self, messages::*};
use protocol_tests::{
    catalog::{Table, catalog},
    random,
};

/// How many values of each message in each version.
const VALUES: u64 = 1_000;

/// What kafka-protocol 0.18 does not cover or gets wrong: message, versions, why.
const EXCEPTIONS: &[(&str, std::ops::RangeInclusive<i16>, &str)] = &[];

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
    let what = || format!("{} version {version}, seed {seed}, body {body:02x?}", table.name);
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
        ("InitProducerIdRequest", 6),
        ("WriteTxnMarkersRequest", 2),
        ("WriteTxnMarkersResponse", 2),
        ("DescribeLogDirsRequest", 5),
        ("DescribeLogDirsResponse", 5),
    ];
    assert_eq!(unchecked, expected, "kafka-protocol ends at Kafka 4.1");
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
