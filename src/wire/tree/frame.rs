//! Whole frames, without their length: a header and a body, and what a response without its request may be.
//!
//! Rules this file keeps:
//! - a request says itself what it is; a response says nothing, so whoever has its request must say it;
//! - a guess is marked as one: only what reads to the last byte is a candidate;
//! - what cannot be a request is not read as one, not even its first number: before Kafka 1.0, and still where a client
//!   asks for it, SASL sends its passwords without any header.

use std::{fmt, ops::RangeInclusive};

use bytes::Bytes;

use super::{
    Fault, Node, Print, Tree, Value,
    read::{Leftover, read},
    words,
};
use crate::wire::{APIS, Api, ApiKey, DATA, ErrorCode, Kind, Table};

/// Which way a frame travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a client.
    Request,
    /// From a broker.
    Response,
}

/// What could be read of a frame.
#[derive(Debug, Clone)]
pub struct FrameTree {
    /// Which way it travels.
    pub direction: Direction,
    /// What it is about; −1 if that cannot be.
    pub api: ApiKey,
    /// The version of its body; −1 if that cannot be.
    pub version: i16,
    /// How many bytes it has.
    pub len: usize,
    /// Its header.
    pub header: Tree,
    /// Its body; `None` where the header could not be read or there is no table.
    pub body: Option<Tree>,
    /// Why the reading ended early, if it did.
    pub fault: Option<Fault>,
}

impl FrameTree {
    /// Reads a request, whose header says what it is.
    ///
    /// ```
    /// use milena::wire::tree::FrameTree;
    ///
    /// let frame: &[u8] = b"\0\x03\0\x01\0\0\0\x07\xff\xff\xff\xff\xff\xff";
    /// let tree = FrameTree::request(frame.into());
    /// assert!(tree.to_string().starts_with("> Metadata request v1, 14 bytes\n"));
    /// ```
    pub fn request(frame: Bytes) -> Self {
        let head = frame.first_chunk::<4>().copied().unwrap_or_default();
        let [k0, k1, v0, v1] = head;
        let (key, version) = (ApiKey(i16::from_be_bytes([k0, k1])), i16::from_be_bytes([v0, v1]));
        if !may_be_a_request(key, version) {
            let header = read(&NOTHING, 0, &frame, 0, Leftover::Allowed);
            let fault = Fault { at: 0, path: String::new(), expected: "what begins like this", fault: None };
            let (api, version, fault) = (UNKNOWN, -1, Some(fault));
            return Self { direction: Direction::Request, api, version, len: frame.len(), header, body: None, fault };
        }
        let api = Api::of_key(key);
        // Every version of the header begins alike; version 1 fits what is not known.
        let header_version = api.map_or(1, |api| (api.request_header_version)(version));
        let header = header("RequestHeader", header_version, &frame);
        Self::behind(Direction::Request, key, version, header, api.map(|api| &api.request), &frame)
    }

    /// Reads the response to a request of this API and version.
    pub fn response(frame: Bytes, key: ApiKey, version: i16) -> Self {
        let api = Api::of_key(key);
        let header_version = api.map_or(0, |api| (api.response_header_version)(version));
        let read = |version| {
            let header = header("ResponseHeader", header_version, &frame);
            Self::behind(Direction::Response, key, version, header, api.map(|api| &api.response), &frame)
        };
        let found = read(version);
        // A broker that does not know the version of an ApiVersions request answers in version 0 (KIP-511).
        if found.fault.is_some() && key == ApiKey::API_VERSIONS && version > 0 {
            let oldest = read(0);
            if oldest.fault.is_none() {
                return oldest;
            }
        }
        found
    }

    /// Reads the body behind a header.
    fn behind(
        direction: Direction,
        api: ApiKey,
        version: i16,
        header: Tree,
        table: Option<&Table>,
        frame: &Bytes,
    ) -> Self {
        let mut fault = header.fault.clone();
        let mut body = None;
        if fault.is_none() {
            let start = header.root.bytes.end;
            match table {
                Some(table) => {
                    let tree = Tree::read_at(table, version, frame, start);
                    fault.clone_from(&tree.fault);
                    body = Some(tree);
                }
                None => {
                    let (path, expected) = (String::new(), "the body of this API");
                    fault = Some(Fault { at: start, path, expected, fault: None });
                }
            }
        }
        Self { direction, api, version, len: frame.len(), header, body, fault }
    }

    /// The number that a response shares with its request, if the header could be read so far.
    pub fn correlation_id(&self) -> Option<i32> {
        let node = self.header.root.children().iter().find(|node| node.name == "correlation_id")?;
        match node.value {
            Value::Int(id) => i32::try_from(id).ok(),
            _ => None,
        }
    }
}

impl fmt::Display for FrameTree {
    /// The frame as [`Print`] writes it, with the fault at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        Print::default().frame(self, &mut out).map_err(|_| fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// Whether a request may begin with these. A raw token of SASL cannot: it begins with a zero byte and a user's name, or
/// with text.
fn may_be_a_request(key: ApiKey, version: i16) -> bool {
    (0..i16::from(b' ')).contains(&key.0) || key.0 > 0 && (0..=i16::from(b' ')).contains(&version)
}

fn header(name: &str, version: i16, frame: &Bytes) -> Tree {
    match DATA.iter().find(|table| table.name == name) {
        Some(table) => read(table, version, frame, 0, Leftover::Allowed),
        // A test holds that both headers are there.
        None => read(&NOTHING, version, frame, 0, Leftover::Allowed),
    }
}

/// Stands for the API of what is no request.
const UNKNOWN: ApiKey = ApiKey(-1);

const NOTHING: Table = Table { name: "", versions: 0..=0, flexible_from: i16::MAX, fields: &[] };

/// What a response without its request may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    /// The API.
    pub api: ApiKey,
    /// The versions in which the bytes mean the same, or near to it; the tree is read in the last one.
    pub versions: RangeInclusive<i16>,
    /// Values that no honest broker sends, such as unknown error codes.
    pub odd: usize,
    /// Values that the table names.
    pub known: usize,
}

/// Every API, and its versions, that can read a response to its last byte; the most plausible first.
///
/// Where `api` or `version` are given, no others are tried.
pub fn guess_response(frame: &Bytes, api: Option<ApiKey>, version: Option<i16>) -> Vec<Guess> {
    let mut guesses: Vec<Guess> = Vec::new();
    for table in APIS.iter().filter(|table| api.is_none_or(|api| api == table.key)) {
        for tried in table.response.versions.clone().filter(|tried| version.is_none_or(|version| version == *tried)) {
            let tree = FrameTree::response(frame.clone(), table.key, tried);
            let Some(body) = tree.body.filter(|_| tree.fault.is_none() && tree.version == tried) else { continue };
            let mut guess = Guess { api: table.key, versions: tried..=tried, odd: 0, known: 0 };
            guess.weigh(body.name, &body.root);
            match guesses.last_mut() {
                Some(last) if last.continues_in(&guess) => last.versions = *last.versions.start()..=tried,
                _ => guesses.push(guess),
            }
        }
    }
    guesses.sort_by_key(|guess| (guess.odd, std::cmp::Reverse(guess.known), guess.api, -guess.versions.end()));
    guesses
}

impl Guess {
    fn continues_in(&self, next: &Self) -> bool {
        (self.api, self.odd, self.known) == (next.api, next.odd, next.known)
            && *self.versions.end() + 1 == *next.versions.start()
    }

    fn weigh(&mut self, message: &str, node: &Node) {
        self.known += usize::from(!node.name.is_empty() && !node.bytes.is_empty() && node.name != "tags");
        let odd = match (&node.value, node.kind) {
            (Value::Int(code), Kind::Int16) if words::is_error_code(node.name) => {
                i16::try_from(*code).is_ok_and(|code| ErrorCode(code).name() == "UNKNOWN")
            }
            (Value::Int(number), _) => is_odd(message, node.name, *number),
            (Value::Text(text), _) => text.chars().any(char::is_control),
            // A tag that no table knows.
            (Value::Bytes(_), _) => node.name.is_empty() && node.tag.is_some(),
            _ => false,
        };
        self.odd += usize::from(odd);
        node.children().iter().for_each(|child| self.weigh(message, child));
    }
}

/// Numbers below −1 are rare in responses, and no broker holds a client back for an hour.
fn is_odd(message: &str, name: &str, number: i64) -> bool {
    match name {
        "throttle_time_ms" => !(0..3_600_000).contains(&number),
        "port" => !(0..=65_535).contains(&number),
        "api_key" => ApiKey(number as i16).name() == "unknown",
        "timestamp" | "offset" if message == "ListOffsetsResponse" => number < -1,
        // The bits of what may be done; the lowest is −2³¹.
        _ if name.ends_with("authorized_operations") => false,
        _ => number < -1,
    }
}
