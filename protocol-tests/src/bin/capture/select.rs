//! Which exchanges become goldens, and their files.
//!
//! Rules this file keeps:
//! - of each API, version and source four are kept at most, of different lengths, the shortest and the longest among them;
//! - what a broker answered goes before what it left unanswered;
//! - the same capture gives the same files.

use std::{collections::BTreeMap, fs, io, ops::RangeInclusive};

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
    for one in recorded.into_iter().filter(|one| belongs(&one.exchange)) {
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

/// Whether Kafka 4 still has it. The probe of a version that nobody has yet belongs, too.
fn belongs(exchange: &Exchange) -> bool {
    let table = Api::of_key(ApiKey(exchange.api())).map(|api| &api.request.versions);
    exchange.request.len() >= 10
        && !ZOOKEEPERS_TIME.contains(&exchange.api())
        && table.is_none_or(|versions| exchange.version() >= *versions.start())
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
    // Of a request that wants no answer, Produce with acks=0, the absence is what is to be seen.
    let silent = exchanges.iter().find(|one| one.response.is_none() && one.api() == ApiKey::PRODUCE.0).cloned();
    if exchanges.iter().any(|one| one.response.is_some()) {
        exchanges.retain(|one| one.response.is_some());
    }
    exchanges.sort_by_key(Exchange::len);
    exchanges.dedup_by_key(|one| one.len());
    let short = exchanges.iter().filter(|one| one.len() <= LONGEST).count().max(1);
    let last = short - 1;
    let mut places = vec![0, last / 3, last * 2 / 3, last];
    places.dedup();
    places.into_iter().filter_map(|place| exchanges.get(place).cloned()).chain(silent).collect()
}

/// Between brokers and a controller that needs ZooKeeper; Kafka 4 has no versions of them left.
const ZOOKEEPERS_TIME: RangeInclusive<i16> = ApiKey::LEADER_AND_ISR.0..=ApiKey::CONTROLLED_SHUTDOWN.0;

/// Longer exchanges are kept only where there is no shorter one.
const LONGEST: usize = 4096;
