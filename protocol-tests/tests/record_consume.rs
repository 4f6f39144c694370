//! What no producer of today can have a broker store, through the whole consumer: old formats and compacted batches.

use std::time::Duration;

use bytes::Bytes;
use milena::{
    Consumer, Kafka, Record, TopicPartition,
    consumer::{OffsetReset, StartFrom},
    embedded::{Api, EmbeddedCluster, Fault, FaultAction},
};
use protocol_tests::record_golden::{Golden, golden};

const TOPIC: &str = "old";
/// Far longer than anything takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A log of 700 records; the first answer to a Fetch has `region` in their place.
async fn reading(region: Bytes, from: i64) -> (EmbeddedCluster, Consumer) {
    let cluster = EmbeddedCluster::builder().topic(TOPIC, 1).start().await.expect("a cluster");
    let kafka = Kafka::builder().bootstrap(&cluster.bootstrap()).property("retry.backoff.ms", "20");
    let kafka = kafka.connect().await.expect("a client");
    let producer = kafka.producer().linger(PATIENCE).build().await.expect("a producer");
    for offset in 0..700 {
        drop(producer.enqueue(Record::to(TOPIC).value(&format!("new {offset}"))).await.expect("enqueued"));
    }
    producer.close().await.expect("written");
    cluster.inject(Fault::on(Api::Fetch, FaultAction::Records(region)));
    let start = [(TopicPartition::new(TOPIC, 0), StartFrom::Offset(from))];
    let consumer = kafka.consumer().offset_reset(OffsetReset::None).fetch_max_wait(Duration::from_millis(100));
    (cluster, consumer.assign(start).await.expect("a consumer"))
}

/// Offset, timestamp and value of the next `count` records; −1 stands for the times of the new ones.
async fn take(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let batch = tokio::time::timeout(PATIENCE, consumer.poll()).await.expect("in time").expect("sound");
        for record in &batch.expect("a batch") {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let field = |field: Option<&[u8]>| field.map_or("null".into(), |bytes| format!("\"{}\"", hex(bytes)));
            let new = record.value_bytes().is_some_and(|value| value.starts_with(b"new "));
            seen.push(match new {
                true => format!("new {}", record.offset()),
                false => {
                    let (key, value) = (field(record.key_bytes()), field(record.value_bytes()));
                    format!("{} {} {key} {value}", record.offset(), record.timestamp())
                }
            });
        }
    }
    seen.truncate(count);
    seen
}

/// The records of a golden from an offset on, then those of the log from `next` on.
fn expected(golden: &Golden, from: i64, next: i64) -> Vec<String> {
    let old = golden.expected.iter().flat_map(|batch| &batch[1..]).cloned();
    let offset = |line: &str| line.split(' ').next().and_then(|offset| offset.parse::<i64>().ok());
    let old = old.filter(|line| offset(line) >= Some(from));
    old.chain((next..next + 10).map(|offset| format!("new {offset}"))).collect()
}

#[tokio::test]
async fn formats_0_1_and_2_follow_each_other() {
    let mixed = golden("mixed");
    // From the first on, from inside the run of format 0, and from inside the LZ4 wrapper of format 1.
    for from in [100, 103, 302] {
        let (cluster, mut consumer) = reading(mixed.region.clone(), from).await;
        let expected = expected(&mixed, from, 605);
        assert_eq!(take(&mut consumer, expected.len()).await, expected, "from {from}");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn every_golden_of_the_old_formats_is_consumed() {
    for magic in ["v0", "v1"] {
        for codec in ["none", "gzip", "snappy", "lz4"] {
            let old = golden(&format!("{magic}-{codec}"));
            let (cluster, mut consumer) = reading(old.region.clone(), 100).await;
            let expected = expected(&old, 100, 105);
            assert_eq!(take(&mut consumer, expected.len()).await, expected, "{magic} {codec}");
            cluster.shutdown().await;
        }
    }
}

#[tokio::test]
async fn c2_the_position_passes_what_compaction_removed() {
    for name in ["v2-compacted-tail", "v2-compacted-empty", "v1-gzip-compacted", "v0-none-compacted", "v2-abort"] {
        let compacted = golden(name);
        let (cluster, mut consumer) = reading(compacted.region.clone(), 100).await;
        let control = name == "v2-abort";
        let expected = expected(&compacted, if control { 1000 } else { 100 }, if control { 106 } else { 105 });
        assert_eq!(take(&mut consumer, expected.len()).await, expected, "{name}");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn c14_a_damaged_wrapper_is_fetched_again_from_its_own_begin() {
    let plain = golden("v1-none");
    let mut wrapper = golden("v1-lz4").region.to_vec();
    wrapper[..8].copy_from_slice(&109i64.to_be_bytes());
    *wrapper.last_mut().expect("bytes") ^= 1;
    let (cluster, mut consumer) = reading([&plain.region[..], &wrapper].concat().into(), 100).await;
    let expected = expected(&plain, 100, 105);
    assert_eq!(take(&mut consumer, expected.len()).await, expected, "neither again nor left out");
    cluster.shutdown().await;
}
