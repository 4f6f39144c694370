//! What happens to the records of a partition: replicas and leaders, deletion, retention, compaction, settings.

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, CreatePartitionsRequest, DeleteRecordsRequest, DescribeLogDirsRequest,
        DescribeTopicPartitionsRequest, ElectLeadersRequest, MetadataRequest,
        create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        describe_topic_partitions_request::{Cursor, TopicRequest},
        elect_leaders_request::TopicPartitions,
    },
};

use super::*;
use crate::embedded::{batch::BatchHeader, log::Append, marker::Marker, producers::Rules};

/// What the log of the only partition of `orders` holds by its own count.
fn cost(cluster: &EmbeddedCluster) -> usize {
    cluster.shared.topics.by_name("orders").unwrap().partitions[0].log().cost()
}

fn append_of(values: &Batch) -> Append {
    let bytes = values.bytes();
    let header = BatchHeader::parse(&bytes).unwrap();
    let rules =
        Rules { strict_start: false, second_version: false, verified: false, now_millis: 0, expiration_millis: 1000 };
    Append { header, frame: bytes.len(), bytes, leader_epoch: 0, rules }
}

fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}

/// Leader, replicas, replicas in sync and offline ones of the first partition.
async fn held(client: &mut Client) -> (i32, Vec<i32>, Vec<i32>, Vec<i32>) {
    let answer = client.call(9, &MetadataRequest::default().with_topics(None)).await;
    let partition = &answer.topics[0].partitions[0];
    let told = (partition.leader_id.0, ids(&partition.replica_nodes), ids(&partition.isr_nodes));
    let request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(100);
    let described = client.call(0, &request).await.topics[0].partitions[0].clone();
    let also = (described.leader_id.0, ids(&described.replica_nodes), ids(&described.isr_nodes));
    assert_eq!(told, also, "both requests tell the same");
    (told.0, told.1, told.2, ids(&partition.offline_replicas))
}

#[tokio::test]
async fn a_replica_in_sync_takes_over_and_the_preferred_leader_comes_back() {
    let (cluster, _) = start(EmbeddedCluster::builder().brokers(3)).await;
    cluster.create_topic_with("orders", 1, 3, &[("min.insync.replicas", "2")]).unwrap();
    let bootstrap = cluster.bootstrap();
    let mut second = Client::at(bootstrap.split(',').nth(1).unwrap()).await;
    assert_eq!(held(&mut second).await, (0, vec![0, 1, 2], vec![0, 1, 2], vec![]));
    cluster.kill(0).await;
    assert_eq!(held(&mut second).await, (1, vec![0, 1, 2], vec![1, 2], vec![0]));
    let batch = Batch::of(["a"]).bytes();
    assert_eq!(second.produce("orders", 0, batch.clone()).await.error_code, 0);
    cluster.kill(2).await;
    assert_eq!(held(&mut second).await, (1, vec![0, 1, 2], vec![1], vec![0, 2]));
    let refused = second.produce("orders", 0, batch.clone()).await.error_code;
    assert_eq!(refused, ResponseError::NotEnoughReplicas.code(), "with acks=all");
    let one = second.call(9, &produce_request("orders", 0, batch).with_acks(1)).await;
    assert_eq!(one.responses[0].partition_responses[0].error_code, 0, "with acks=1");
    cluster.restart(0).await.unwrap();
    assert_eq!(held(&mut second).await, (1, vec![0, 1, 2], vec![1, 0], vec![2]));
    let topic = TopicPartitions::default().with_topic(name("orders")).with_partitions(vec![0, 7]);
    let elect = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
    for expected in [0, ResponseError::ElectionNotNeeded.code()] {
        let results = second.call(2, &elect).await.replica_election_results[0].partition_result.clone();
        assert_eq!(results[0].error_code, expected);
        assert_eq!(results[1].error_code, ResponseError::UnknownTopicOrPartition.code());
    }
    assert_eq!(held(&mut second).await.0, 0);
    assert_eq!(second.call(0, &elect.with_topic_partitions(None)).await.replica_election_results.len(), 0);
    cluster.shutdown().await;
}

async fn grow(client: &mut Client, version: i16, count: i32, assigned: Option<Vec<Vec<i32>>>) -> i16 {
    let one =
        |ids: Vec<i32>| CreatePartitionsAssignment::default().with_broker_ids(ids.into_iter().map(BrokerId).collect());
    let topic = CreatePartitionsTopic::default()
        .with_name(name("orders"))
        .with_count(count)
        .with_assignments(assigned.map(|each| each.into_iter().map(one).collect()));
    let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
    let dry = client.call(version, &request.clone().with_validate_only(true)).await.results[0].error_code;
    let code = client.call(version, &request).await.results[0].error_code;
    assert_eq!(dry, code, "a dry run says the same");
    code
}

#[tokio::test]
async fn partitions_are_added_and_described_page_by_page() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().brokers(2).topic("orders", 1)).await;
    client.produce("orders", 0, Batch::of(["a"]).bytes()).await;
    for (version, count) in (0..=3).zip([2, 3, 4, 5]) {
        assert_eq!(grow(&mut client, version, count, None).await, 0, "v{version}");
    }
    let unassignable = ResponseError::InvalidReplicaAssignment.code();
    let table = [
        ("as many as now", 5, None, ResponseError::InvalidPartitions.code()),
        ("fewer", 1, None, ResponseError::InvalidPartitions.code()),
        ("an unknown broker", 6, Some(vec![vec![7]]), unassignable),
        ("another factor", 6, Some(vec![vec![0, 1]]), unassignable),
        ("too few", 7, Some(vec![vec![1]]), unassignable),
        ("as wanted", 7, Some(vec![vec![1], vec![1]]), 0),
    ];
    for (case, count, assigned, expected) in table {
        assert_eq!(grow(&mut client, 3, count, assigned).await, expected, "{case}");
    }
    assert_eq!(client.fetch("orders", 0).await.0, 0, "what was there stays");
    let (mut cursor, mut leaders) = (None, Vec::new());
    for _ in 0..3 {
        let topics = ["orders", "absent"].map(|topic| TopicRequest::default().with_name(name(topic))).to_vec();
        let request = DescribeTopicPartitionsRequest::default().with_topics(topics).with_response_partition_limit(3);
        let page = client.call(0, &request.with_cursor(cursor)).await;
        leaders.extend(page.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.leader_id.0));
        let next = page.next_cursor.map(|next| (next.topic_name, next.partition_index));
        cursor = next.map(|(topic, index)| Cursor::default().with_topic_name(topic).with_partition_index(index));
    }
    assert_eq!((leaders, cursor), (vec![0, 1, 0, 1, 0, 1, 1], None));
    let dirs = client.call(4, &DescribeLogDirsRequest::default().with_topics(None)).await.results;
    let sizes: Vec<_> = dirs[0].topics[0].partitions.iter().map(|it| (it.partition_index, it.partition_size)).collect();
    assert_eq!(sizes, [(0, Batch::of(["a"]).bytes().len() as i64), (2, 0), (4, 0)], "what this broker holds");
    cluster.shutdown().await;
}

async fn delete_records(client: &mut Client, version: i16, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
    let answer = client.call(version, &DeleteRecordsRequest::default().with_topics(vec![topic])).await;
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

#[tokio::test]
async fn records_are_deleted_from_the_front() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    let size = Batch::of(["a", "b"]).bytes().len();
    cluster.create_topic_with("orders", 1, 1, &[("segment.bytes", &size.to_string())]).unwrap();
    for _ in 0..5 {
        client.produce("orders", 0, Batch::of(["a", "b"]).bytes()).await;
    }
    let full = cluster.stored_bytes();
    assert_eq!(delete_records(&mut client, 0, 3).await, (0, 3), "inside a batch");
    assert_eq!(client.fetch("orders", 2).await.0, ResponseError::OffsetOutOfRange.code());
    assert_eq!(base_offsets(client.fetch("orders", 3).await.1), [2, 4, 6, 8], "batches go out whole");
    assert_eq!(cluster.stored_bytes(), full / 5 * 4);
    assert_eq!(delete_records(&mut client, 1, 1).await, (0, 3), "nothing comes back");
    assert_eq!(delete_records(&mut client, 2, 11).await, (ResponseError::OffsetOutOfRange.code(), -1));
    assert_eq!(delete_records(&mut client, 2, -1).await, (0, 10), "everything");
    assert_eq!(cluster.stored_bytes(), 0);
    assert_eq!(client.produce("orders", 0, Batch::of(["c"]).bytes()).await.base_offset, 10);
    cluster.create_topic_with("kept", 1, 1, &[("cleanup.policy", "compact")]).unwrap();
    let topic = DeleteRecordsTopic::default().with_name(name("kept")).with_partitions(vec![Default::default()]);
    let answer = client.call(2, &DeleteRecordsRequest::default().with_topics(vec![topic])).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, ResponseError::PolicyViolation.code());
    cluster.shutdown().await;
}

#[tokio::test]
async fn old_segments_and_too_many_of_them_go() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    let (batch, now) = (Batch::of(["a"]), cluster.now_millis());
    let size = batch.bytes().len();
    let three = (3 * size).to_string();
    cluster.create_topic_with("orders", 1, 1, &[("segment.bytes", "100"), ("retention.ms", "60000")]).unwrap();
    cluster.create_topic_with("few", 1, 1, &[("segment.bytes", "100"), ("retention.bytes", &three)]).unwrap();
    for age in [90_000, 70_000, 10_000, 80_000, 0] {
        client.produce("orders", 0, batch.clone().at(now - age).bytes()).await;
        client.produce("few", 0, batch.clone().at(now - age).bytes()).await;
    }
    cluster.apply_retention();
    assert_eq!(client.fetch("orders", 1).await.0, ResponseError::OffsetOutOfRange.code());
    assert_eq!(base_offsets(client.fetch("orders", 2).await.1), [2, 3, 4], "an old one behind a new one stays");
    assert_eq!(client.fetch("few", 1).await.0, ResponseError::OffsetOutOfRange.code());
    assert_eq!(base_offsets(client.fetch("few", 2).await.1), [2, 3, 4]);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn retention_happens_by_itself() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    cluster.create_topic_with("orders", 1, 1, &[("retention.ms", "36000000")]).unwrap();
    client.produce("orders", 0, Batch::of(["a"]).at(cluster.now_millis()).bytes()).await;
    tokio::time::sleep(Duration::from_secs(18_000)).await;
    assert!(cluster.stored_bytes() > 0, "not yet");
    tokio::time::sleep(Duration::from_secs(19_000)).await;
    assert_eq!(cluster.stored_bytes(), 0);
    cluster.shutdown().await;
}

/// Offset and key of every record in a region.
fn keys(mut region: Bytes) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    while region.has_remaining() {
        let base_offset = (&region[..8]).get_i64();
        let batch = region.split_to((&region[8..12]).get_i32() as usize + 12);
        let header = BatchHeader::parse(&batch).unwrap();
        let payload = header.payload(&batch).unwrap();
        for record in header.records(&payload).map(Option::unwrap) {
            let key = String::from_utf8(record.key.unwrap_or(b"none").to_vec()).unwrap();
            found.push((base_offset + record.offset_delta, key));
        }
    }
    found
}

#[tokio::test]
async fn compaction_keeps_the_last_record_of_every_key() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    let settings =
        [("cleanup.policy", "compact"), ("segment.bytes", "100"), ("delete.retention.ms", "0"), ("retention.ms", "1")];
    cluster.create_topic_with("orders", 1, 1, &settings).unwrap();
    for values in [["a=1", "b=1", "c=1"], ["a=2", "d=", "e=1"], ["d=0", "d=", "b=2"], ["c=2", "x=1", "y=1"]] {
        assert_eq!(client.produce("orders", 0, Batch::of(values).keyed().bytes()).await.error_code, 0);
    }
    let before = cluster.stored_bytes();
    cluster.apply_retention();
    let expected = [(2, "c"), (3, "a"), (5, "e"), (7, "d"), (8, "b"), (9, "c"), (10, "x"), (11, "y")];
    let expected = expected.map(|(offset, key)| (offset, key.to_owned())).to_vec();
    let region = client.fetch("orders", 0).await.1;
    assert_eq!(base_offsets(region.clone()), [0, 3, 6, 9], "batches stand where they stood");
    assert_eq!(keys(region), expected, "the last segment is not touched");
    assert!(cluster.stored_bytes() < before);
    cluster.apply_retention();
    let without: Vec<_> = expected.into_iter().filter(|(_, key)| key != "d").collect();
    assert_eq!(keys(client.fetch("orders", 0).await.1), without, "the tombstone's time is over");
    assert_eq!(keys(client.fetch("orders", 4).await.1)[1].0, 5, "an offset that is gone leads to the next");
    let keyless = client.produce("orders", 0, Batch::of(["a"]).bytes()).await.error_code;
    assert_eq!(keyless, ResponseError::InvalidRecord.code());
    cluster.shutdown().await;
}

/// A batch under a delete horizon counts its timestamps from that, so that it may be larger than what was written.
#[tokio::test]
async fn compaction_that_makes_a_log_larger_is_accounted_for() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    cluster.create_topic_with("orders", 1, 1, &[("cleanup.policy", "compact"), ("segment.bytes", "100")]).unwrap();
    let mut many = Batch::of(["gone="]).keyed();
    many.values.extend((0..20).map(|key| format!("key{key}=value")));
    for batch in [many, Batch::of(["x=1"]).keyed()] {
        assert_eq!(client.produce("orders", 0, batch.bytes()).await.error_code, 0);
    }
    let before = cluster.stored_bytes();
    cluster.apply_retention();
    assert!(cluster.stored_bytes() > before, "nothing went, and the deltas of the timestamps grew");
    assert_eq!(cluster.stored_bytes(), cost(&cluster));
    cluster.shared.topics.delete("orders").unwrap();
    assert_eq!(cluster.stored_bytes(), 0);
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_deleted_log_takes_nothing_from_requests_under_way() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 1)).await;
    client.produce("orders", 0, Batch::of(["a"]).bytes()).await;
    let topics = &cluster.shared.topics;
    let partition = topics.by_name("orders").unwrap().partitions[0].clone();
    cluster.shared.topics.delete("orders").unwrap();
    let refused = Err(ResponseError::UnknownTopicOrPartition);
    assert_eq!(topics.append(&partition, append_of(&Batch::of(["b"]))).map(drop), refused);
    let marker = Marker { producer_id: 1, producer_epoch: 0, coordinator_epoch: 0, commit: true, timestamp: 0 };
    assert_eq!(topics.append_marker(&partition, &marker), refused);
    assert_eq!((cluster.stored_bytes(), partition.log().end_offset()), (0, 0));
    cluster.shutdown().await;
}

#[tokio::test]
async fn the_store_forgets_no_segment_of_appends_at_once() {
    let bound = 40_000;
    let (cluster, _) = start(EmbeddedCluster::builder().retention_bytes(bound)).await;
    cluster.create_topic_with("orders", 1, 1, &[("segment.bytes", "80")]).unwrap();
    let topics = &cluster.shared.topics;
    let partition = topics.by_name("orders").unwrap().partitions[0].clone();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..2000 {
                    topics.append(&partition, append_of(&Batch::of(["a"]))).unwrap();
                }
            });
        }
    });
    assert_eq!(cluster.stored_bytes(), cost(&cluster));
    assert!(cluster.stored_bytes() <= bound, "{} bytes", cluster.stored_bytes());
    let start = partition.log().start_offset();
    let end = partition.log().end_offset();
    assert_eq!(end, 8000);
    assert!(partition.log().drop_segment(end - 2) > 0 && start < end - 2, "with all that is older");
    assert_eq!(partition.log().start_offset(), end - 1);
    cluster.shutdown().await;
}

#[tokio::test]
async fn settings_change_what_is_appended() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    let now = cluster.now_millis();
    let cases = [
        ("max.message.bytes", "68", Batch::of(["a"]), ResponseError::MessageTooLarge.code()),
        (
            "message.timestamp.after.max.ms",
            "1000",
            Batch::of(["a"]).at(now + 60_000),
            ResponseError::InvalidTimestamp.code(),
        ),
        ("message.timestamp.after.max.ms", "120000", Batch::of(["a"]).at(now + 60_000), 0),
        (
            "message.timestamp.before.max.ms",
            "60000",
            Batch::of(["a"]).at(now - 120_000),
            ResponseError::InvalidTimestamp.code(),
        ),
        ("message.timestamp.before.max.ms", "600000", Batch::of(["a"]).at(now - 120_000), 0),
        ("message.timestamp.type", "LogAppendTime", Batch::of(["a"]).at(now + 86_400_000), 0),
    ];
    for (number, (setting, value, batch, expected)) in cases.into_iter().enumerate() {
        let topic = format!("topic{number}");
        cluster.create_topic_with(&topic, 1, 1, &[(setting, value)]).unwrap();
        let answer = client.produce(&topic, 0, batch.bytes()).await;
        assert_eq!(answer.error_code, expected, "{setting}={value}");
        let stamped = setting == "message.timestamp.type";
        assert_eq!(answer.log_append_time_ms >= now, stamped, "{setting}");
    }
    let region = client.fetch("topic5", 0).await.1;
    let header = BatchHeader::parse(&region).unwrap();
    assert!(header.validate(&region).is_ok() && header.is_log_append_time());
    assert!((now..now + 60_000).contains(&header.max_timestamp));
    for (codec, number) in [("uncompressed", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)] {
        cluster.create_topic_with(codec, 1, 1, &[("compression.type", codec)]).unwrap();
        client.produce(codec, 0, Batch::of(["k=v", "l=w"]).keyed().bytes()).await;
        let region = client.fetch(codec, 0).await.1;
        let header = BatchHeader::parse(&region).unwrap();
        assert_eq!((header.validate(&region), header.codec()), (Ok(()), number), "{codec}");
        assert_eq!(keys(region), [(0, "k".to_owned()), (1, "l".to_owned())], "{codec}");
    }
    cluster.shutdown().await;
}
