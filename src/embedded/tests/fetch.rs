//! Fetch and ListOffsets: what is read, how much of it, and when the answer comes.

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        ListOffsetsRequest,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
};
use tokio::time::{Instant, timeout};

use super::*;

fn one_topic() -> Builder {
    EmbeddedCluster::builder().topic("orders", 2)
}

#[tokio::test]
async fn every_version_of_fetch_returns_what_was_produced() {
    let (cluster, mut client) = start(one_topic()).await;
    let id = cluster.shared.topics.by_name("orders").unwrap().id;
    // Small batches are copied into the reply, large ones go out as they are stored.
    let sent =
        [Batch::of(["small"]), Batch::of([&"large".repeat(10_000)]), Batch::of([&"larger".repeat(20_000), "end"])];
    for batch in &sent {
        client.produce("orders", 0, batch.bytes()).await;
    }
    for version in 4..=17 {
        let mut request = fetch_request("orders", 0);
        if version >= 13 {
            request.topics[0].topic_id = id;
        }
        let response = client.call(version, &request).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark, response.session_id), (0, 4, 0), "v{version}");
        let mut region = partition.records.clone().unwrap();
        assert_eq!(base_offsets(region.clone()), [0, 1, 2], "v{version}");
        for batch in &sent {
            let got = region.split_to(batch.bytes().len());
            assert_eq!(got[16..], batch.bytes()[16..], "v{version}");
            assert_eq!(got[12..16], 0i32.to_be_bytes(), "the leader epoch");
        }
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn the_reply_is_what_kafka_protocol_would_have_encoded() {
    let (cluster, mut client) = start(one_topic()).await;
    client.produce("orders", 0, Batch::of([&"x".repeat(50_000)]).bytes()).await;
    client.produce("orders", 1, Batch::of(["y"]).bytes()).await;
    for version in [4, 7, 11, 12, 16] {
        let mut request = fetch_request("orders", 0);
        let other = FetchPartition::default().with_partition(1).with_partition_max_bytes(1 << 20);
        request.topics[0].partitions.push(other);
        client.send(version, &request).await;
        let mut frame = client.frame().await.unwrap();
        ResponseHeader::decode(&mut frame, FetchResponse::header_version(version)).unwrap();
        let mut encoded = BytesMut::new();
        FetchResponse::decode(&mut frame.clone(), version).unwrap().encode(&mut encoded, version).unwrap();
        assert_eq!(frame, encoded, "v{version}");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn offsets_outside_the_log_and_unknown_names_are_said() {
    let (cluster, mut client) = start(one_topic()).await;
    client.produce("orders", 0, Batch::of(["a", "b", "c"]).bytes()).await;
    let out_of_range = ResponseError::OffsetOutOfRange.code();
    for (topic, offset, code) in [
        ("orders", -1, out_of_range),
        ("orders", 4, out_of_range),
        ("absent", 0, ResponseError::UnknownTopicOrPartition.code()),
        ("orders", 3, 0),
    ] {
        assert_eq!(client.fetch(topic, offset).await, (code, Bytes::new()), "{topic} {offset}");
    }
    assert_eq!(base_offsets(client.fetch("orders", 2).await.1), [0], "the batch that holds the offset");
    let mut request = fetch_request("orders", 0);
    (request.session_id, request.session_epoch) = (5, 1);
    let error = client.call(12, &request).await.error_code;
    assert_eq!(error, ResponseError::FetchSessionIdNotFound.code(), "no session was ever opened");
    cluster.shutdown().await;
}

#[tokio::test]
async fn limits_hold_but_the_first_batch_always_comes() {
    let (cluster, mut client) = start(one_topic()).await;
    let batch = Batch::of([&"x".repeat(1000)]).bytes();
    for partition in [0, 0, 0, 1] {
        client.produce("orders", partition, batch.clone()).await;
    }
    let size = batch.len() as i32;
    let cases = [
        ("room for all", 10 * size, 10 * size, (3, 1)),
        ("room for two in a partition", 10 * size, 2 * size, (2, 1)),
        ("room for two and a half", 2 * size + size / 2, 10 * size, (2, 0)),
        ("no room at all", 1, 1, (1, 0)),
    ];
    for (case, max_bytes, partition_max_bytes, expected) in cases {
        let mut request = fetch_request("orders", 0).with_max_bytes(max_bytes);
        request.topics[0].partitions = [0, 1]
            .map(|p| FetchPartition::default().with_partition(p).with_partition_max_bytes(partition_max_bytes))
            .into();
        let response = client.call(12, &request).await;
        let batches = |at: usize| base_offsets(response.responses[0].partitions[at].records.clone().unwrap()).len();
        assert_eq!((batches(0), batches(1)), expected, "{case}");
    }
    cluster.shutdown().await;
}

/// Comes back when a reader waits at partition 0.
async fn waiting(cluster: &EmbeddedCluster, topic: &str) {
    let topic = cluster.shared.topics.by_name(topic).unwrap();
    while !topic.partitions[0].log().has_waiting() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_long_poll_ends_with_the_append_it_waited_for() {
    let (cluster, mut reader) = start(one_topic()).await;
    let mut writer = Client::to(&cluster).await;
    let batch = Batch::of(["a"]).bytes();
    let patient = fetch_request("orders", 0).with_max_wait_ms(60_000).with_min_bytes(2 * batch.len() as i32);
    reader.send(12, &patient).await;
    waiting(&cluster, "orders").await;
    writer.produce("orders", 1, batch.clone()).await;
    writer.produce("orders", 0, batch.clone()).await;
    // One batch is less than min_bytes: the reader looks, finds too little, and waits again.
    waiting(&cluster, "orders").await;
    writer.produce("orders", 0, batch).await;
    let response = timeout(Duration::from_secs(20), reader.receive::<FetchRequest>(12, 1)).await.expect("woken");
    assert_eq!(base_offsets(records(&response).1), [0, 1]);
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_ends_empty_when_its_time_is_up() {
    let (cluster, mut client) = start(one_topic()).await;
    let before = Instant::now();
    let response = client.call(12, &fetch_request("orders", 0).with_max_wait_ms(30)).await;
    assert_eq!(records(&response), (0, Bytes::new()));
    assert!(before.elapsed() >= Duration::from_millis(30));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_ends_when_its_topic_or_leader_goes() {
    let (cluster, mut reader) = start(one_topic().topic("gone", 1).brokers(2)).await;
    let patient = |topic| fetch_request(topic, 0).with_max_wait_ms(60_000);
    reader.send(12, &patient("gone")).await;
    waiting(&cluster, "gone").await;
    let mut controller = Client::to(&cluster).await;
    let delete = kafka_protocol::messages::DeleteTopicsRequest::default().with_topic_names(vec![name("gone")]);
    assert_eq!(controller.call(4, &delete).await.responses[0].error_code, 0);
    let response = reader.receive::<FetchRequest>(12, 1).await;
    assert_eq!(records(&response).0, ResponseError::UnknownTopicOrPartition.code());
    reader.send(12, &patient("orders")).await;
    waiting(&cluster, "orders").await;
    cluster.move_leader("orders", 0, 1).unwrap();
    let response = reader.receive::<FetchRequest>(12, 2).await;
    assert_eq!(records(&response).0, ResponseError::NotLeaderOrFollower.code());
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_ends_with_its_reader() {
    let (cluster, mut reader) = start(one_topic()).await;
    reader.send(12, &fetch_request("orders", 0).with_max_wait_ms(i32::MAX)).await;
    waiting(&cluster, "orders").await;
    drop(reader);
    let topic = cluster.shared.topics.by_name("orders").unwrap();
    while topic.partitions[0].log().has_waiting() {
        tokio::task::yield_now().await;
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn retention_drops_the_oldest_segments_of_the_cluster() {
    let (cluster, mut client) = start(one_topic().retention_bytes(100_000).segment_bytes(10_000)).await;
    let value = "x".repeat(1000);
    for n in 0..500 {
        let answer = client.produce("orders", n % 2, Batch::of([&value]).bytes()).await;
        assert_eq!(answer.error_code, 0);
        assert!(cluster.stored_bytes() <= 100_000, "after {n}: {}", cluster.stored_bytes());
    }
    let start = client.call(12, &fetch_request("orders", 249)).await.responses[0].partitions[0].log_start_offset;
    assert!((200..=240).contains(&start), "log start offset {start}");
    assert_eq!(client.fetch("orders", start - 1).await.0, ResponseError::OffsetOutOfRange.code());
    assert_eq!(base_offsets(client.fetch("orders", start).await.1)[0], start);
    assert_eq!(list(&mut client, 7, -2).await.0, start, "earliest");
    cluster.shutdown().await;
}

/// Offset and timestamp of partition 0 that ListOffsets finds.
async fn list(client: &mut Client, version: i16, timestamp: i64) -> (i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let found = client.call(version, &request).await.topics[0].partitions[0].clone();
    assert_eq!(found.error_code, 0);
    (found.offset, found.timestamp)
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let (cluster, mut client) = start(one_topic()).await;
    assert_eq!(list(&mut client, 7, -3).await, (-1, -1), "an empty log has no newest record");
    for at in [1000, 5000, 3000] {
        client.produce("orders", 0, Batch::of(["a", "b", "c"]).at(at).bytes()).await;
    }
    for version in 1..=10 {
        let table = [
            ("earliest", -2, (0, -1)),
            ("latest", -1, (9, -1)),
            ("from the beginning", 0, (0, 1000)),
            ("inside the first batch", 1001, (1, 1001)),
            ("between batches", 2000, (3, 5000)),
            ("after everything", 5003, (-1, -1)),
            ("newest", -3, (5, 5002)),
        ];
        for (case, timestamp, expected) in table {
            assert_eq!(list(&mut client, version, timestamp).await, expected, "{case} v{version}");
        }
    }
    cluster.shutdown().await;
}
