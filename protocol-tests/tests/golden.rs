//! Frames that real brokers and the Java client wrote: each is read and written again to the same bytes, and none of
//! them, cut or changed anywhere, does harm.

mod counting;
mod hostile;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use milena::{
    record::{Batches, DecodeScratch},
    wire::{
        self, Api, ApiKey, ErrorCode, Message, Reader,
        messages::*,
        tree::{Node, Tree, Value, embedded},
    },
};
use protocol_tests::{
    catalog::{Copier, Table, catalog},
    golden::{self, Golden, hex},
    show, tree_of,
};

/// Frames that are written again to other bytes: where, which, why.
const NOT_THE_SAME: &[(&str, &str)] = &[];

/// Frames on which kafka-protocol and milena disagree: the message, the version, why.
const THEY_DIFFER: &[(&str, i16, &str)] = &[];

/// What a broker offers, has a table, and is in no golden: the key and why.
const MISSING: &[(ApiKey, &str)] = &[];

/// APIs in goldens that milena has no table for, because only brokers and controllers send them.
const WITHOUT_TABLE: &[ApiKey] = &[
    ApiKey::ENVELOPE,
    ApiKey::BROKER_REGISTRATION,
    ApiKey::BROKER_HEARTBEAT,
    ApiKey::CONTROLLER_REGISTRATION,
    ApiKey::INITIALIZE_SHARE_GROUP_STATE,
    ApiKey::READ_SHARE_GROUP_STATE,
    ApiKey::WRITE_SHARE_GROUP_STATE,
    ApiKey::DELETE_SHARE_GROUP_STATE,
    ApiKey::READ_SHARE_GROUP_STATE_SUMMARY,
];

#[test]
fn what_kafka_wrote_is_written_again_to_the_same_bytes() {
    let (mut frames, mut compared) = (0, 0);
    for frame in frames_with_tables() {
        assert_eq!(frame.copy_header(), frame.header, "the header in {frame}");
        let ours = (frame.table.ours)(frame.body.clone(), frame.version);
        if NOT_THE_SAME.iter().any(|(place, _)| *place == frame.place) {
            assert!(ours.is_ok_and(|ours| ours != frame.body), "{frame}: an exception that is none");
            continue;
        }
        assert_eq!(ours.map(|ours| hex(&ours)), Ok(hex(&frame.body)), "milena: {frame}");
        frames += 1;
        let differs =
            THEY_DIFFER.iter().any(|(name, version, _)| (*name, *version) == (frame.table.name, frame.version));
        if frame.table.their_versions.contains(&frame.version) && !differs {
            let theirs = (frame.table.theirs)(frame.body.clone(), frame.version);
            assert_eq!(theirs.map(|theirs| hex(&theirs)), Ok(hex(&frame.body)), "kafka-protocol: {frame}");
            compared += 1;
        }
    }
    eprintln!("{frames} frames, {compared} of them by kafka-protocol too");
    assert!(frames > 1500 && compared > 1400, "{frames} frames, {compared} compared: where are the goldens?");
}

/// Every API that a broker's ApiVersions offers and milena has a table for.
#[test]
fn what_a_broker_offers_has_a_golden() {
    let mut captured: BTreeMap<String, BTreeSet<(i16, i16)>> = BTreeMap::new();
    let mut offered: BTreeMap<String, BTreeMap<ApiKey, (i16, i16)>> = BTreeMap::new();
    for Golden { place, exchange } in golden::checked_in() {
        let kafka = place.split('/').next().unwrap_or_default().to_string();
        captured.entry(kafka.clone()).or_default().insert((exchange.api(), exchange.version()));
        let (version, to_controller) = (exchange.version(), exchange.note.contains("controller"));
        if exchange.api() != ApiKey::API_VERSIONS.0 || version == FUTURE || to_controller {
            continue;
        }
        let answer = Bytes::from(exchange.response.expect("an answer"));
        if refuses_version(Api::of_key(ApiKey::API_VERSIONS).expect("a table"), &answer) {
            continue;
        }
        let answer = wire::decode_response::<ApiVersionsRequest>(answer, version).expect("ApiVersions");
        let apis = answer.api_keys.iter().map(|api| (ApiKey(api.api_key), (api.min_version, api.max_version)));
        offered.entry(kafka).or_default().extend(apis);
    }
    assert!(!offered.is_empty(), "no broker said what it offers");
    let mut without = Vec::new();
    for (kafka, apis) in &offered {
        for (key, (first, last)) in apis {
            let (Some(api), false) = (Api::of_key(*key), MISSING.iter().any(|(missing, _)| missing == key)) else {
                continue;
            };
            let versions =
                (*first.max(api.request.versions.start())..=*last).filter(|v| api.request.versions.contains(v));
            let absent = versions.filter(|version| !captured[kafka].contains(&(key.0, *version)));
            without.extend(absent.map(|version| format!("{kafka}: {key} v{version}")));
        }
    }
    assert!(without.is_empty(), "without a golden: {without:?}");
}

#[test]
fn what_has_no_table_is_known() {
    let keys = golden::checked_in().into_iter().map(|golden| ApiKey(golden.exchange.api()));
    let without: BTreeSet<ApiKey> = keys.filter(|key| Api::of_key(*key).is_none()).collect();
    assert_eq!(without, WITHOUT_TABLE.iter().copied().collect());
}

/// KIP-511: a version of ApiVersions that the broker does not know is answered in version 0, since Kafka 2.4 with the
/// versions of ApiVersions that it does know.
#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let mut said = BTreeMap::new();
    for Golden { place, exchange } in golden::checked_in() {
        if (exchange.api(), exchange.version()) == (ApiKey::API_VERSIONS.0, FUTURE) {
            let answer = exchange.response.expect("an answer").into();
            let answer = wire::decode_response::<ApiVersionsRequest>(answer, 0).expect("version 0");
            assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION, "{place}");
            let apis = answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version));
            said.insert(place, apis.collect::<Vec<_>>());
        }
    }
    let known = [("2.1.1", vec![]), ("3.9.1", vec![(18, 0, 4)]), ("4.3.1", vec![(18, 0, 4)])];
    let known = known.map(|(kafka, apis)| (format!("{kafka}/ApiVersions.txt"), apis));
    assert_eq!(said, BTreeMap::from(known));
}

/// The reader of `milena decode` is a third one: it reads each body to its end.
#[test]
fn every_golden_is_read_as_a_tree() {
    for frame in frames_with_tables() {
        let tree = frame.tree();
        assert_eq!((&tree.fault, tree.root.bytes.end), (&None, frame.body.len()), "{frame}");
    }
}

/// What Java's assignors put into bytes: subscriptions and assignments.
#[test]
fn structures_inside_of_bytes_are_written_again_to_the_same_bytes() {
    let tables = catalog();
    let mut found: BTreeMap<&str, BTreeSet<i16>> = BTreeMap::new();
    for frame in frames_with_tables() {
        each_node(&frame.tree().root, &mut |node| {
            let Value::Bytes(bytes) = &node.value else { return };
            let Some(tree) = embedded(frame.table.name, node.name, bytes) else { return };
            let table = tables.iter().find(|table| table.name == tree.name).expect("the catalog is complete");
            let body = bytes.slice(2..);
            let copied = (table.ours)(body.clone(), tree.version);
            assert_eq!(copied.map(|copied| hex(&copied)), Ok(hex(&body)), "{tree} in {frame}");
            found.entry(tree.name).or_default().insert(tree.version);
        });
    }
    let found: Vec<_> = found.iter().map(|(name, versions)| (*name, versions.iter().copied().collect())).collect();
    let expected: [(&str, Vec<i16>); 2] =
        [("ConsumerProtocolAssignment", vec![0, 3]), ("ConsumerProtocolSubscription", vec![0, 3])];
    assert_eq!(found, expected);
}

#[test]
fn every_record_inside_is_read() {
    let (mut batches, mut records, mut control) = (0, 0, 0);
    for frame in frames_with_tables() {
        each_node(&frame.tree().root, &mut |node| {
            let Value::Records(region) = &node.value else { return };
            for batch in Batches::new(region.clone()) {
                let batch = batch.unwrap_or_else(|error| panic!("{error}: {frame}"));
                batch.check_crc().unwrap_or_else(|error| panic!("{error}: {frame}"));
                let count = usize::try_from(batch.record_count).expect("a count");
                let batch = batch.decode(&mut DecodeScratch::default(), 1 << 20);
                let batch = batch.unwrap_or_else(|error| panic!("{error}: {frame}"));
                assert_eq!(batch.records().filter(Result::is_ok).count(), count, "{frame}");
                (batches, records) = (batches + 1, records + count);
                control += usize::from(batch.header.is_control());
            }
        });
    }
    eprintln!("{batches} batches, {records} records, {control} control batches");
    assert!(batches > 100 && records > 100 && control > 10, "{batches} batches, {records} records, {control} control");
}

#[test]
fn every_golden_may_be_cut_at_every_byte() {
    for frame in frames_with_tables() {
        let whole = frame.whole();
        for end in 0..whole.len() {
            let (cut, mut was_read) = (whole.slice(..end), false);
            hostile::survives(end, || was_read = frame.read(cut).is_ok(), || format!("cut at {end}: {frame}"));
            assert!(!was_read, "cut at {end} and read: {frame}");
        }
    }
}

#[test]
fn every_byte_of_every_golden_may_be_changed() {
    for frame in frames_with_tables() {
        let whole = frame.whole();
        for at in 0..whole.len() {
            let change = [0xff, 0x80, 0x7f, 0x01][at % 4];
            let mut changed = whole.to_vec();
            changed[at] ^= change;
            let what = || format!("byte {at} ^ {change:#x}: {frame}");
            hostile::survives(whole.len(), || drop(frame.read(changed.into())), what);
        }
    }
}

/// A request or a response of a golden, with the table for it.
struct Frame<'a> {
    place: String,
    table: &'a Table,
    version: i16,
    header: Bytes,
    header_version: i16,
    is_request: bool,
    body: Bytes,
}

impl Frame<'_> {
    fn whole(&self) -> Bytes {
        [&self.header[..], &self.body].concat().into()
    }

    fn tree(&self) -> Tree {
        tree_of(self.table, self.version, self.body.clone())
    }

    fn read(&self, frame: Bytes) -> Result<Bytes, String> {
        let (_, body) = split(frame, self.is_request, self.header_version)?;
        (self.table.ours)(body, self.version)
    }

    fn copy_header(&self) -> Bytes {
        let header = self.header.clone();
        let copied = if self.is_request {
            copier::<RequestHeader>()(header, self.header_version)
        } else {
            copier::<ResponseHeader>()(header, self.header_version)
        };
        copied.unwrap_or_else(|error| panic!("{self}: {error}"))
    }
}

impl std::fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: header {}, {}", self.place, hex(&self.header), show(self.table, self.version, &self.body))
    }
}

fn each_node(node: &Node, visit: &mut impl FnMut(&Node)) {
    visit(node);
    node.children().iter().for_each(|child| each_node(child, visit));
}

fn copier<M: Message>() -> Copier {
    |bytes, version| {
        let message: M = wire::decode_body(bytes, version).map_err(|error| error.to_string())?;
        wire::encode_body(&message, version).map_err(|error| error.to_string())
    }
}

/// The header's bytes and the body's.
fn split(frame: Bytes, is_request: bool, header_version: i16) -> Result<(Bytes, Bytes), String> {
    let mut input = Reader::new(&frame);
    let read = match is_request {
        true => RequestHeader::decode(&mut input, header_version).map(|_| ()),
        false => ResponseHeader::decode(&mut input, header_version).map(|_| ()),
    };
    read.map_err(|error| error.to_string())?;
    Ok((frame.slice(..input.position()), frame.slice(input.position()..)))
}

/// All frames of all goldens that milena has a table for.
fn frames_with_tables() -> Vec<Frame<'static>> {
    let tables: &[Table] = catalog().leak();
    let table = |name: &str| tables.iter().find(|table| table.name == name).expect("the catalog is complete");
    let mut frames = Vec::new();
    for Golden { place, exchange } in golden::checked_in() {
        let (version, request) = (exchange.version(), Bytes::from(exchange.request.clone()));
        let Some(api) = Api::of_key(ApiKey(exchange.api())) else { continue };
        if version == FUTURE {
            continue; // The test of its own reads it.
        }
        assert!(api.request.versions.contains(&version), "{place}: {} v{version} is in no table", api.key);
        let mut add = |message: &str, is_request, version, header_version, frame: Bytes| {
            let place = format!("{place}: {}", exchange.note);
            let (header, body) =
                split(frame, is_request, header_version).unwrap_or_else(|error| panic!("{place}: {error}"));
            frames.push(Frame { place, table: table(message), version, header, header_version, is_request, body });
        };
        add(api.request.name, true, version, (api.request_header_version)(version), request);
        for response in exchange.response.iter().cloned() {
            let version = if refuses_version(api, &response) { 0 } else { version };
            add(api.response.name, false, version, (api.response_header_version)(version), response.into());
        }
    }
    frames
}

/// Whether the broker did not know the version of ApiVersions, and so answered in version 0 (KIP-511).
fn refuses_version(api: &Api, response: &[u8]) -> bool {
    let error = response.get(4..6) == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
    api.key == ApiKey::API_VERSIONS && error
}

/// The version that the capture asks for to see what a broker makes of it.
const FUTURE: i16 = 99;
