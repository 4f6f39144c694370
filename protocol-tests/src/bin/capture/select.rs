//! Which exchanges become goldens, and their files.
//!
//! Rules this file keeps:
//! - of each API, version and source two are kept at most: the shortest, and the longest that is not too long;
//! - what a broker answered goes before what it left unanswered;
//! - the same capture gives the same files.

use std::{collections::BTreeMap, fs, io};

use milena::wire::{Api, ApiKey};
use protocol_tests::{
    golden::{self, Exchange},
    recorder::Recorded,
};

use crate::probe::CLIENT_ID;

/// Writes the files of one broker, and says what is in them.
pub(crate) fn write(recorded: Vec<Recorded>, version: &str) -> io::Result<String> {
    let total = recorded.len();
    let mut kept: BTreeMap<(ApiKey, i16, &'static str), Vec<Exchange>> = BTreeMap::new();
    for one in recorded.into_iter().filter(|one| one.exchange.request.len() >= 10) {
        let (key, source) = (ApiKey(one.exchange.api()), source(&one));
        kept.entry((key, one.exchange.version(), source)).or_default().push(one.exchange);
    }
    let mut files: BTreeMap<ApiKey, Vec<Exchange>> = BTreeMap::new();
    for ((key, version, source), exchanges) in kept {
        let note = format!("{source}: {key} v{version}");
        let chosen = choose(exchanges).into_iter().map(|exchange| Exchange { note: note.clone(), ..exchange });
        files.entry(key).or_default().extend(chosen);
    }
    let folder = golden::folder().join(version);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let (mut exchanges, mut bytes) = (0, 0);
    for (key, chosen) in &files {
        let head = format!("{key} (API {}) between Kafka {version} and its clients. ../README.md says how.", key.0);
        let text = golden::print(&head, chosen);
        (exchanges, bytes) = (exchanges + chosen.len(), bytes + text.len());
        fs::write(folder.join(format!("{}.txt", key.name())), text)?;
    }
    let without: Vec<_> = files.keys().filter(|key| Api::of_key(**key).is_none()).collect();
    Ok(format!(
        "{total} exchanges heard, {exchanges} kept, {} APIs, {bytes} bytes; without a table: {without:?}",
        files.len()
    ))
}

/// Who asked.
fn source(one: &Recorded) -> &'static str {
    match (client_id(&one.exchange.request), one.relay) {
        (Some(CLIENT_ID), "CONTROLLER") => "milena to a controller",
        (Some(CLIENT_ID), _) => "milena",
        (Some("java"), _) => "java",
        (_, "CONTROLLER") => "broker to a controller",
        _ => "broker",
    }
}

/// The client id is at the same place in both versions of the header.
fn client_id(request: &[u8]) -> Option<&str> {
    let length = usize::from(u16::from_be_bytes(request.get(8..10)?.try_into().ok()?));
    std::str::from_utf8(request.get(10..10 + length)?).ok()
}

fn choose(mut exchanges: Vec<Exchange>) -> Vec<Exchange> {
    if exchanges.iter().any(|one| one.response.is_some()) {
        let wants_none = |one: &Exchange| one.api() == ApiKey::PRODUCE.0 && one.version() >= 3 && is_acks_none(one);
        exchanges.retain(|one| one.response.is_some() || wants_none(one));
    }
    exchanges.sort_by_key(Exchange::len);
    let first = exchanges.first().cloned();
    let longest = exchanges.iter().rev().find(|one| one.len() <= LONGEST).filter(|one| Some(*one) != first.as_ref());
    let silent = exchanges.iter().find(|one| one.response.is_none());
    let mut chosen: Vec<Exchange> = first.iter().chain(longest).chain(silent).cloned().collect();
    chosen.dedup();
    chosen
}

/// Whether nobody waits for an answer. A client that does always gets one, so the absence says it.
fn is_acks_none(one: &Exchange) -> bool {
    one.response.is_none()
}

/// Longer exchanges are kept only where there is no shorter one.
const LONGEST: usize = 4096;
