//! Frames as they lie on the wire.

use std::time::Duration;

use super::*;
use crate::{
    error::{Error, ErrorKind},
    wire::{DecodeFault, ErrorCode, MAX_ARRAY, Records, Uuid, messages::*},
};

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn whole(frame: &Frame) -> Bytes {
    Records::from_pieces(frame.pieces().to_vec()).into_bytes()
}

#[test]
fn n2_headers_have_the_version_of_their_api() {
    type Header = fn(i16) -> i16;
    let table: [(Header, Header, i16, i16, i16); 8] = [
        (ApiVersionsRequest::request_header_version, ApiVersionsRequest::response_header_version, 0, 1, 0),
        // N2: the answer to ApiVersions has a header of version 0 even where its body is flexible.
        (ApiVersionsRequest::request_header_version, ApiVersionsRequest::response_header_version, 3, 2, 0),
        (ProduceRequest::request_header_version, ProduceRequest::response_header_version, 8, 1, 0),
        (ProduceRequest::request_header_version, ProduceRequest::response_header_version, 9, 2, 1),
        (FetchRequest::request_header_version, FetchRequest::response_header_version, 11, 1, 0),
        (FetchRequest::request_header_version, FetchRequest::response_header_version, 12, 2, 1),
        (SaslHandshakeRequest::request_header_version, SaslHandshakeRequest::response_header_version, 1, 1, 0),
        (SaslAuthenticateRequest::request_header_version, SaslAuthenticateRequest::response_header_version, 2, 2, 1),
    ];
    for (line, (request, response, version, expected_request, expected_response)) in table.into_iter().enumerate() {
        assert_eq!((request(version), response(version)), (expected_request, expected_response), "line {line}");
    }
}

#[test]
fn a_request_is_length_header_body() -> Result<(), EncodeError> {
    let request = ApiVersionsRequest {
        client_software_name: "m".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let flexible = encode_request(&request, 3, 7, Some("me"))?;
    assert_eq!(whole(&flexible), hex("00000012 0012 0003 00000007 0002 6d65 00  02 6d 02 31 00"));
    let anonymous = encode_request(&ApiVersionsRequest::default(), 0, 7, None)?;
    assert_eq!(whole(&anonymous), hex("0000000a 0012 0000 00000007 ffff"));
    // The name is ignorable: version 0 does without it.
    assert_eq!(encode_request(&request, 0, 7, None)?, anonymous);
    Ok(())
}

#[test]
fn records_are_sent_from_where_they_lie() -> Result<(), EncodeError> {
    let (header, body) = (Bytes::from(vec![1; 61]), Bytes::from(vec![2; 400]));
    let records = Records::from_pieces(vec![header.clone(), body.clone()]);
    let partition_data = vec![
        PartitionProduceData { index: 0, records: Some(records.clone()) },
        PartitionProduceData { index: 1, records: None },
        PartitionProduceData { index: 2, records: Some(records) },
    ];
    let topic_data = vec![TopicProduceData { name: "t".into(), topic_id: Uuid(1), partition_data }];
    let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data, ..Default::default() };
    for version in ProduceRequest::VERSIONS {
        let frame = encode_request(&request, version, 1, Some("milena"))?;
        let shared = |piece: &Bytes| frame.pieces().iter().filter(|sent| sent.as_ptr() == piece.as_ptr()).count();
        assert_eq!((shared(&header), shared(&body)), (2, 2), "version {version}");
        // Small bytes, two pieces, small bytes, two pieces; after them the tagged sections of flexible versions.
        let expected = if version >= ProduceRequest::FLEXIBLE_FROM { 7 } else { 6 };
        assert_eq!(frame.pieces().len(), expected, "version {version}");
        let length = whole(&frame).first_chunk().map(|length| i32::from_be_bytes(*length));
        assert_eq!(length, Some(frame.len() as i32 - 4));
    }
    Ok(())
}

#[test]
fn p11_a_null_batch_keeps_its_place_and_its_tags() -> Result<(), EncodeError> {
    let partition_data = vec![PartitionProduceData { index: 5, records: None }];
    let topic_data = vec![TopicProduceData { name: "t".into(), partition_data, ..Default::default() }];
    let request = ProduceRequest { topic_data, ..Default::default() };
    assert_eq!(encode_body(&request, 9)?, hex("00 0000 00000000 02 02 74 02 00000005 00 00 00 00"));
    Ok(())
}

#[test]
fn a_response_shares_its_frame() -> Result<(), Box<dyn std::error::Error>> {
    let partition = PartitionData {
        partition_index: 3,
        records: Some(Bytes::from(vec![9; 100]).into()),
        current_leader: FetchLeaderIdAndEpoch { leader_id: 4, leader_epoch: 5 },
        ..Default::default()
    };
    let topic = FetchableTopicResponse { topic: "events".into(), topic_id: Uuid(7), partitions: vec![partition] };
    let response = FetchResponse { session_id: 8, responses: vec![topic], ..Default::default() };
    let mut frame = hex("0000002a 00").to_vec();
    frame.extend_from_slice(&encode_body(&response, 12)?);
    let frame = Bytes::from(frame);
    assert_eq!(response_correlation_id(&frame)?, 42);
    let read = decode_response::<FetchRequest>(frame.clone(), 12)?;
    let inside = |bytes: &[u8]| frame.as_ptr_range().contains(&bytes.as_ptr());
    let topic = &read.responses[0];
    assert!(inside(topic.topic.as_bytes()), "the name is copied");
    let records = topic.partitions[0].records.as_ref().map(|records| inside(&records.clone().into_bytes()));
    assert_eq!(records, Some(true), "the records are copied");
    assert_eq!(topic.partitions[0].current_leader.leader_epoch, 5);
    Ok(())
}

#[test]
fn a_field_with_a_value_is_never_left_out_silently() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let why = encode_body(&request, 0).map_err(|error| error.to_string());
    assert_eq!(why, Err("MetadataRequest.topics is null, and this version has no null for it".into()));
    let request = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    let why = encode_body(&request, 3);
    let text = "MetadataRequest.allow_auto_topic_creation is set, and version 3 does not have it";
    assert_eq!(why.map_err(|error| error.to_string()), Err(text.into()));
    let why = encode_body(&request, 14).map_err(|error| Error::from(error).kind());
    assert_eq!(why, Err(ErrorKind::UnsupportedVersion));
}

#[test]
fn n13_lengths_are_checked_before_memory_is_reserved() {
    let truncated = |needed, left| DecodeFault::Truncated { needed, left };
    let table = [
        ("a count of 2 GiB", "00000001 7fffffff 00000000", truncated(i32::MAX as usize, 4)),
        ("a count of −1 without null", "00000001 ffffffff", DecodeFault::Null),
        ("a count of −2", "00000001 fffffffe", DecodeFault::NegativeLength(-2)),
        ("a string of 32 KiB", "00000001 00000001 00000001 7fff", truncated(32767, 0)),
        ("bytes left over", "00000001 00000000 00000000 00", DecodeFault::Leftover(1)),
        ("not UTF-8", "00000001 00000001 00000001 0001 ff", DecodeFault::Utf8),
        ("nothing", "", truncated(4, 0)),
    ];
    for (name, bytes, fault) in table {
        let read = decode_response::<MetadataRequest>(hex(bytes), 0);
        assert_eq!(read.map_err(|error| error.fault).err(), Some(fault), "{name}");
    }
    let mut many = vec![0; 8];
    many[4..].copy_from_slice(&(MAX_ARRAY as i32 + 1).to_be_bytes());
    many.resize(3 * MAX_ARRAY, 0);
    let read = decode_response::<MetadataRequest>(many.into(), 0).map_err(|error| error.fault);
    assert_eq!(read, Err(DecodeFault::TooMany(MAX_ARRAY + 1)));
}

#[test]
fn unknown_tagged_fields_are_skipped_within_their_bounds() -> Result<(), DecodeError> {
    let error_code = ErrorCode::NONE;
    // error, no keys, throttle, then one tagged field number 9 of three bytes.
    let body = hex("0000 01 00000000 01 09 03 aabbcc");
    let response: ApiVersionsResponse = decode_body(body, 3)?;
    assert_eq!(response, ApiVersionsResponse { error_code, ..Default::default() });
    let table = [
        ("longer than what is left", "0000 01 00000000 01 09 04 aabbcc", DecodeFault::Truncated { needed: 4, left: 3 }),
        ("a known one with bytes over", "0000 01 00000000 01 03 02 0100", DecodeFault::Leftover(1)),
        ("too many", "0000 01 00000000 914e", DecodeFault::TooMany(10_001)),
    ];
    for (name, body, fault) in table {
        let read = decode_body::<ApiVersionsResponse>(hex(body), 3).map_err(|error| error.fault);
        assert_eq!(read, Err(fault), "{name}");
    }
    Ok(())
}

#[test]
fn p18_an_answer_says_how_long_to_hold_back() {
    let response = ProduceResponse { throttle_time_ms: 250, ..Default::default() };
    assert_eq!(ProduceRequest::throttle_time(&response), Duration::from_millis(250));
    let response = ProduceResponse { throttle_time_ms: -1, ..Default::default() };
    assert_eq!(ProduceRequest::throttle_time(&response), Duration::ZERO);
    assert_eq!(SaslHandshakeRequest::throttle_time(&SaslHandshakeResponse::default()), Duration::ZERO);
}

#[test]
fn data_inside_of_bytes_has_its_version_in_front() -> Result<(), Box<dyn std::error::Error>> {
    let header = RequestHeader { request_api_key: 3, correlation_id: 7, client_id: None, ..Default::default() };
    for version in [1, 2] {
        let bytes = encode_versioned(&header, version)?;
        assert_eq!(bytes.get(..2), Some(&version.to_be_bytes()[..]));
        assert_eq!(decode_versioned(bytes.clone())?, (version, header.clone()));
        let longer: Bytes = [&bytes[..], b"more"].concat().into();
        let fault = decode_versioned::<RequestHeader>(longer.clone()).map_err(|error| error.fault);
        assert_eq!(fault, Err(DecodeFault::Leftover(4)), "in a version that is known nothing may follow");
    }
    // What came later than the table is read as far as the table goes.
    let newer: Bytes = [&[0, 9][..], &encode_versioned(&header, 2)?[2..], b"more"].concat().into();
    assert_eq!(decode_versioned(newer)?, (9, header));
    let older = decode_versioned::<RequestHeader>(hex("0000 0003 0000 00000007")).map_err(|error| error.fault);
    assert_eq!(older, Err(DecodeFault::Version(0)));
    Ok(())
}
