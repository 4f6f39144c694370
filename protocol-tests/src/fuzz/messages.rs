//! Messages: bodies and frames, as a peer wrote them and with one thing broken.

use std::{fmt::Debug, sync::OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use milena::wire::{
    self, ApiKey, Message, Records, Request, Versions, messages,
    tree::{FrameTree, Tree, guess_response},
};

use super::Tape;
use crate::{
    catalog::{Table, catalog},
    random,
};

/// What has to hold of any bytes for one message; each line of the catalog carries it.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// For bytes as a body. Whether they are one.
    body: fn(Bytes, i16) -> bool,
    /// For bytes in the place where the message travels, with a correlation id and a client id for requests.
    outside: fn(Bytes, i16, i32, Option<&str>),
}

impl Checks {
    /// The checks of a request.
    pub fn of_request<R: Request>() -> Self {
        Self { body: body_of::<R>, outside: request_frame::<R> }
    }

    /// The checks of the response to `R`.
    pub fn of_response<R: Request>() -> Self {
        Self { body: body_of::<R::Response>, outside: response_frame::<R> }
    }

    /// The checks of a structure that travels inside bytes of others.
    pub fn of_data<M: Message>() -> Self {
        Self { body: body_of::<M>, outside: |bytes, _, _, _| versioned::<M>(bytes) }
    }
}

/// Target `response`: any bytes as the body of any message, requests too.
pub(super) fn body(input: &[u8]) {
    let mut tape = Tape::new(input);
    let (table, version) = pick(&mut tape);
    check_body(table, version, Bytes::copy_from_slice(tape.rest()));
}

/// The codec keeps its promises, and the tree, which reads by the table alone, says the same of the bytes.
fn check_body(table: &Table, version: i16, body: Bytes) {
    let decoded = (table.checks.body)(body.clone(), version);
    let apis = wire::APIS.iter().flat_map(|api| [&api.request, &api.response]);
    let by_name = apis.chain(wire::DATA).find(|found| found.name == table.name).expect("a table");
    let tree = Tree::read(by_name, version, body);
    assert_eq!(tree.fault.is_none(), decoded, "{} version {version}: {:?}", table.name, tree.fault);
}

/// Target `tree`: any bytes as a frame of which nothing is known, as `milena decode` reads them, and printed.
pub(super) fn tree(input: &[u8]) {
    let mut tape = Tape::new(input);
    let mode = tape.byte() % 3;
    let (key, version) = (ApiKey(i16::from(tape.byte())), i16::from(tape.byte() as i8));
    // Short, because the records inside may be decompressed to a thousand times their length.
    let frame = Bytes::copy_from_slice(tape.bytes(4096));
    let tree = match mode {
        0 => FrameTree::request(frame),
        1 => FrameTree::response(frame, key, version),
        _ => match guess_response(&frame, None, None).first() {
            Some(guess) => FrameTree::response(frame, guess.api, *guess.versions.end()),
            None => return,
        },
    };
    assert!(!tree.to_string().is_empty());
}

/// Target `frame`: any bytes as the frame of a response; a request that can be read is sent and read back.
pub(super) fn frame(input: &[u8]) {
    let mut tape = Tape::new(input);
    let (table, version) = pick(&mut tape);
    let correlation_id = i32::from_be_bytes(tape.array());
    let client_id = tape.field().map(String::from_utf8_lossy);
    let bytes = if table.name.ends_with("Response") {
        let mut frame = correlation_id.to_be_bytes().to_vec();
        frame.extend(tape.rest());
        Bytes::from(frame)
    } else {
        Bytes::copy_from_slice(tape.rest())
    };
    (table.checks.outside)(bytes, version, correlation_id, client_id.as_deref());
}

/// Target `structured_message`: a body that is right is given back byte for byte; then up to three things are broken.
pub(super) fn structured(input: &[u8]) {
    let mut tape = Tape::new(input);
    let (table, version) = pick(&mut tape);
    let seed = u64::from(u32::from_be_bytes(tape.array()));
    let mut body = random::body(table, version, seed);
    let written = (table.ours)(Bytes::copy_from_slice(&body), version);
    assert_eq!(written.as_deref(), Ok(&body[..]), "{} version {version}, seed {seed}", table.name);
    for _ in 0..3 {
        if tape.is_empty() {
            break;
        }
        tape.damage(&mut body);
        check_body(table, version, Bytes::copy_from_slice(&body));
    }
}

/// Target `consumer_protocol`: any bytes as a structure that travels inside bytes of others, with its version in front
/// or without.
pub(super) fn data(input: &[u8]) {
    let mut tape = Tape::new(input);
    let tables: Vec<&Table> = tables().iter().filter(|table| table.api.is_none()).collect();
    let name = u16::from_be_bytes(tape.array());
    let table = tables.iter().find(|table| name_hash(table.name) == name);
    let table = table.unwrap_or(&tables[usize::from(name) % tables.len()]);
    let (version, bytes) = (tape.clone().byte(), Bytes::copy_from_slice(tape.rest()));
    (table.checks.outside)(bytes.clone(), 0, 0, None);
    if !bytes.is_empty() {
        check_body(table, nth_version(table, version), bytes.slice(1..));
    }
}

/// What an input of `consumer_protocol` begins with.
pub fn name_hash(name: &str) -> u16 {
    name.bytes().fold(0, |hash: u16, byte| hash.wrapping_mul(31).wrapping_add(u16::from(byte)))
}

/// The table and version that the first two bytes name: the API key; whether a response, and the version.
fn pick(tape: &mut Tape<'_>) -> (&'static Table, i16) {
    let [key, version] = tape.array();
    let suffix = if version & 0x80 != 0 { "Response" } else { "Request" };
    let named = tables().iter().find(|table| table.api == Some(i16::from(key)) && table.name.ends_with(suffix));
    let table = named.unwrap_or(&tables()[usize::from(key) % tables().len()]);
    (table, nth_version(table, version & 0x7f))
}

fn nth_version(table: &Table, number: u8) -> i16 {
    let count = table.versions.end() - table.versions.start() + 1;
    table.versions.start() + i16::from(number) % count
}

fn tables() -> &'static [Table] {
    static TABLES: OnceLock<Vec<Table>> = OnceLock::new();
    TABLES.get_or_init(catalog)
}

fn body_of<M: Message>(body: Bytes, version: i16) -> bool {
    match wire::decode_body::<M>(body, version) {
        Ok(message) => {
            canonical(&message, version);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// A structure with its version in front. One of a later version is read as the newest known.
fn versioned<M: Message>(bytes: Bytes) {
    let Ok((version, data)) = wire::decode_versioned::<M>(bytes) else { return };
    let version = version.min(*M::VERSIONS.end());
    canonical(&data, version);
    let written = wire::encode_versioned(&data, version).expect("a structure that was read");
    let (again_version, again) = wire::decode_versioned::<M>(written).expect("a structure that was written");
    assert_eq!(again_version, version);
    assert_same(&again, &data);
}

/// What was read can be written, in the size it says, and is then read as the same.
fn canonical<M: Message>(message: &M, version: i16) -> Bytes {
    let written = wire::encode_body(message, version).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    assert_eq!(written.len(), message.size(version), "the size of {message:?}");
    let again = wire::decode_body::<M>(written.clone(), version);
    let again = again.unwrap_or_else(|error| panic!("{error}: {message:?}"));
    assert_same(&again, message);
    written
}

fn response_frame<R: Request>(frame: Bytes, version: i16, correlation_id: i32, _: Option<&str>) {
    assert_eq!(wire::response_correlation_id(&frame), Ok(correlation_id));
    let Ok(response) = wire::decode_response::<R>(frame, version) else { return };
    let _ = R::throttle_time(&response);
    let body = canonical(&response, version);
    let mut frame = BytesMut::new();
    frame.put_i32(correlation_id);
    if R::response_header_version(version) >= 1 {
        frame.put_u8(0);
    }
    frame.put(body.clone());
    let again = wire::decode_response::<R>(frame.freeze(), version).expect("a response that was read before");
    assert_same(&again, &response);
    if R::API == ApiKey::API_VERSIONS {
        negotiate(body, version);
    }
}

/// Whatever a broker offers, what is picked is in both ranges.
fn negotiate(body: Bytes, version: i16) {
    let response: messages::ApiVersionsResponse = wire::decode_body(body, version).expect("a body that was written");
    let versions = Versions::from_response(&response);
    picks::<messages::ProduceRequest>(&versions);
    picks::<messages::InitProducerIdRequest>(&versions);
    for feature in &response.finalized_features {
        let _ = versions.feature(&feature.name);
    }
}

fn picks<R: Request>(versions: &Versions) {
    if let Ok(version) = versions.pick::<R>() {
        assert!(R::STABLE.contains(&version) && versions.supports(R::API, version));
    }
}

fn request_frame<R: Request>(body: Bytes, version: i16, correlation_id: i32, client_id: Option<&str>) {
    let Ok(request) = wire::decode_body::<R>(body, version) else { return };
    let body = canonical(&request, version);
    let Ok(frame) = wire::encode_request(&request, version, correlation_id, client_id) else {
        assert!(client_id.is_some_and(|id| id.len() > i16::MAX as usize), "only a client id can be too long");
        return;
    };
    assert_eq!(frame.len(), frame.pieces().iter().map(Bytes::len).sum::<usize>());
    // The header, read by hand: a second opinion on what frame.rs writes.
    let bytes = Records::from_pieces(frame.into_pieces()).into_bytes();
    let mut tape = Tape::new(&bytes);
    assert_eq!(u32::from_be_bytes(tape.array()) as usize, bytes.len() - 4);
    assert_eq!((i16::from_be_bytes(tape.array()), i16::from_be_bytes(tape.array())), (R::API.0, version));
    assert_eq!(i32::from_be_bytes(tape.array()), correlation_id);
    let length = i16::from_be_bytes(tape.array());
    let read = usize::try_from(length).ok().map(|length| tape.bytes(length));
    assert_eq!(read, client_id.map(str::as_bytes));
    if R::request_header_version(version) >= 2 {
        assert_eq!(tape.byte(), 0, "no tagged fields in the header");
    }
    assert_eq!(tape.rest(), body);
}

/// Equal, or printed the same: a float that is not a number equals nothing.
fn assert_same<T: PartialEq + Debug>(one: &T, other: &T) {
    assert!(one == other || format!("{one:?}") == format!("{other:?}"), "{one:?} was {other:?}");
}
