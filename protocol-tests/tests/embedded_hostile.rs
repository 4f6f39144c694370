//! Every request that the embedded broker serves, in every version, with random values and damaged: it never panics,
//! hangs or grows.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use kafka_protocol::{
    messages::{ApiKey, ApiVersionsResponse, MetadataResponse},
    protocol::Decodable,
};
use milena::embedded::EmbeddedCluster;
use protocol_tests::{
    catalog::catalog,
    random::{About, body_about},
    record_golden,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Bodies of each version of each request; half of them are damaged.
const BODIES: u64 = 24;
const MAX_REQUEST: usize = 200_000;
const RETENTION: usize = 8 << 20;
/// How much the process may grow, whatever it is sent: the logs, what groups and transactions keep, and room.
const MOST_GROWTH: usize = 64 << 20;

static PANICS: AtomicUsize = AtomicUsize::new(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_does_harm() {
    let seed = env::var("MILENA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("MILENA_SEED={seed}");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(info);
    }));
    let builder = EmbeddedCluster::builder().brokers(2).topic("orders", 3).topic("other", 1).auto_create_topics(2);
    let cluster = builder.max_request_bytes(MAX_REQUEST).retention_bytes(RETENTION).start().await.unwrap();
    let address = cluster.bootstrap().split(',').next().unwrap().to_owned();
    let about = about(&address).await;
    let served = served(&address).await;
    let before = resident();
    let mut random = Rng::with_seed(seed);
    let mut answered = BTreeSet::new();
    for table in catalog().iter().filter(|table| table.name.ends_with("Request")) {
        let Some((api, versions)) = table.api.and_then(|api| Some((api, served.get(&api)?.clone()))) else { continue };
        for version in table.versions.clone().filter(|version| versions.contains(version)) {
            for number in 0..BODIES {
                let body_seed = random.u64(..);
                let mut body = body_about(table, version, body_seed, &about);
                if number % 2 == 1 {
                    damage(&mut random, &mut body);
                }
                let what = || format!("{} v{version}, MILENA_SEED={seed}, body {body_seed}: {body:02x?}", table.name);
                let frame = frame(api, version, version >= table.flexible_from, 7, &body);
                if exchange(&address, &frame).await.unwrap_or_else(|| panic!("hangs: {}", what())).is_some() {
                    answered.insert(api);
                }
                assert_eq!(PANICS.load(Ordering::Relaxed), 0, "{}", what());
            }
        }
    }
    // SASL answers only where it is asked for, and only in its order.
    let silent: Vec<_> = served.keys().filter(|api| !answered.contains(api) && !matches!(api, 17 | 36)).collect();
    assert!(silent.is_empty(), "never answered, so never tried: {silent:?}");
    assert!(cluster.stored_bytes() <= RETENTION + MAX_REQUEST, "{}", cluster.stored_bytes());
    let grown = resident().saturating_sub(before);
    println!("{} APIs answered; {} MiB more than before", answered.len(), grown >> 20);
    assert!(grown < MOST_GROWTH, "{grown} bytes more");
    cluster.shutdown().await;
}

fn damage(random: &mut Rng, body: &mut Vec<u8>) {
    for _ in 0..random.usize(1..4) {
        if body.is_empty() {
            return;
        }
        let at = random.usize(..body.len());
        match random.u8(..4) {
            0 => body[at] = random.u8(..),
            1 => body[at] ^= 1 << random.u8(..8),
            2 => body.truncate(at),
            _ => {
                let lie = [&[0xff, 0xff, 0xff, 0xff][..], &[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x07]];
                let lie = random.choice(lie).unwrap();
                body.splice(at..(at + lie.len()).min(body.len()), lie.iter().copied());
            }
        }
    }
}

/// A frame around a body, by a client without a name.
fn frame(api: i16, version: i16, flexible: bool, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend(api.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(correlation_id.to_be_bytes());
    frame.extend((-1i16).to_be_bytes());
    if flexible {
        frame.push(0);
    }
    frame.extend(body);
    let length = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Sends a frame and nothing more: its answer or `None` without one; the outer `None` is a broker that hangs.
async fn exchange(address: &str, frame: &[u8]) -> Option<Option<Bytes>> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The broker may close before it has read everything.
        let _ = stream.write_all(frame).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        (answer.len() >= 8).then(|| Bytes::from(answer))
    };
    timeout(Duration::from_secs(60), talk).await.ok()
}

/// What the broker tells that it serves.
async fn served(address: &str) -> BTreeMap<i16, std::ops::RangeInclusive<i16>> {
    let answer = exchange(address, &frame(18, 0, false, 7, &[])).await.flatten().unwrap();
    let versions = ApiVersionsResponse::decode(&mut answer.slice(8..), 0).unwrap();
    versions.api_keys.iter().map(|key| (key.api_key, key.min_version..=key.max_version)).collect()
}

/// The topics by name and id, some names of groups and settings, and batches of every codec.
async fn about(address: &str) -> About {
    let answer = exchange(address, &frame(ApiKey::Metadata as i16, 10, true, 7, &[0, 0, 0, 0, 0])).await.flatten();
    let metadata = MetadataResponse::decode(&mut answer.unwrap().slice(9..), 10).unwrap();
    let uuids = metadata.topics.iter().map(|topic| topic.topic_id.as_u128()).collect();
    let strings = ["orders", "other", "billing", "member", "retention.ms", "cleanup.policy", "compact", "0", "range"];
    let records = record_golden::goldens().into_values().map(|golden| golden.region.to_vec()).collect();
    About { strings: strings.map(str::to_owned).to_vec(), uuids, records }
}

/// Bytes of memory of this process; 0 where the system does not say.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
