//! Frames that real brokers and the Java client wrote: each is read and written again to the same bytes, and none of
//! them, cut or changed anywhere, does harm.

mod counting;
mod hostile;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use milena::wire::{self, Api, ApiKey, ErrorCode, Message, Reader, messages::*};
use protocol_tests::{
    catalog::{Copier, Table, catalog},
    golden::{self, Golden, hex},
};

/// Frames that are written again to other bytes: where, which, why.
const NOT_THE_SAME: &[(&str, &str)] = &[];

/// Frames on which kafka-protocol and milena disagree: the message, the version, why.
const THEY_DIFFER: &[(&str, i16, &str)] = &[];

/// What a broker of this version offers, has a table, and is in no golden: the key and why.
const MISSING: &[(ApiKey, &str)] = &[];

/// Cuts and changes of a frame at most: a longer frame is cut and changed at every n-th byte, so that there are no
/// more. The first of them are always the header and the beginning of the body.
const PLACES: usize = 512;

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
        let differs = THEY_DIFFER.iter().any(|(name, version, _)| (*name, *version) == (frame.table.name, frame.version));
        if frame.table.their_versions.contains(&frame.version) && !differs {
            let theirs = (frame.table.theirs)(frame.body.clone(), frame.version);
            assert_eq!(theirs.map(|theirs| hex(&theirs)), Ok(hex(&frame.body)), "kafka-protocol: {frame}");
            compared += 1;
        }
    }
    eprintln!("{frames} frames, {compared} of them by kafka-protocol too");
    assert!(frames > 300 && compared > 200, "{frames} frames, {compared} compared: where are the goldens?");
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
            let versions = (*first.max(api.request.versions.start())..=*last).filter(|v| api.request.versions.contains(v));
            let absent = versions.filter(|version| !captured[kafka].contains(&(key.0, *version)));
            without.extend(absent.map(|version| format!("{kafka}: {key} v{version}")));
        }
    }
    assert!(without.is_empty(), "without a golden: {without:?}");
}

/// KIP-511: a version of ApiVersions that the broker does not know is answered in version 0, with what it knows.
#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let golden = golden::checked_in().into_iter().find(|golden| {
        (golden.exchange.api(), golden.exchange.version()) == (ApiKey::API_VERSIONS.0, FUTURE)
    });
    let answer = golden.and_then(|golden| golden.exchange.response).expect("a golden of it");
    let answer = wire::decode_response::<ApiVersionsRequest>(answer.into(), 0).expect("version 0");
    assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION);
    let only: Vec<_> = answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!(only, [(ApiKey::API_VERSIONS.0, 0, 4)]);
}

#[test]
fn every_golden_may_be_cut_at_every_byte() {
    for frame in frames_with_tables() {
        let whole = frame.whole();
        for end in frame.places() {
            let cut = whole.slice(..end);
            assert!(frame.read(cut.clone()).is_err(), "cut at {end} and read: {frame}");
            hostile::survives(end, || frame.read(cut.clone()), || format!("cut at {end}: {frame}"));
        }
    }
}

#[test]
fn every_byte_of_every_golden_may_be_changed() {
    for frame in frames_with_tables() {
        let whole = frame.whole();
        for at in frame.places() {
            let change = [0xff, 0x80, 0x7f, 0x01][at % 4];
            let mut changed = whole.to_vec();
            changed[at] ^= change;
            let changed = Bytes::from(changed);
            let what = || format!("byte {at} ^ {change:#x}: {frame}");
            hostile::survives(whole.len(), || frame.read(changed.clone()), what);
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

    /// Where the frame is cut and changed.
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let length = self.header.len() + self.body.len();
        (0..length).step_by(length.div_ceil(PLACES).max(1))
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
        write!(f, "{}: {} v{}: {}", self.place, self.table.name, self.version, hex(&self.whole()))
    }
}

fn copier<M: Message>() -> Copier {
    |bytes, version| {
        let message: M = wire::decode_body(bytes, version).map_err(|error| error.to_string())?;
        wire::encode_body(&message, version).map_err(|error| error.to_string())
    }
}

/// The header's bytes and the body's.
fn split(frame: Bytes, is_request: bool, header_version: i16) -> Result<(Bytes, Bytes), String> {
    let mut input = Reader::new(frame.clone());
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
            continue;
        }
        assert!(api.request.versions.contains(&version), "{place}: {} v{version} is in no table", api.key);
        let mut add = |message: &str, is_request, header_version, frame: Bytes| {
            let place = format!("{place}: {}", exchange.note);
            let (header, body) =
                split(frame, is_request, header_version).unwrap_or_else(|error| panic!("{place}: {error}"));
            frames.push(Frame { place, table: table(message), version, header, header_version, is_request, body });
        };
        add(api.request.name, true, (api.request_header_version)(version), request);
        for response in exchange.response.iter().cloned() {
            add(api.response.name, false, (api.response_header_version)(version), response.into());
        }
    }
    frames
}

/// The version that the capture asks for to see what a broker makes of it.
const FUTURE: i16 = 99;
