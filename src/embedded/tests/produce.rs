//! Produce and InitProducerId: offsets, refusals, idempotence.

use kafka_protocol::{ResponseError, messages::InitProducerIdRequest};

use super::*;

fn one_topic() -> Builder {
    EmbeddedCluster::builder().topic("orders", 2)
}

#[tokio::test]
async fn every_version_of_produce_gives_out_offsets_without_gaps() {
    let (cluster, mut client) = start(one_topic()).await;
    let id = cluster.shared.topics.by_name("orders").unwrap().id;
    let mut expected = 0;
    for version in 3..=13 {
        let mut request = produce_request("orders", 1, Batch::of(["a", "b", "c"]).bytes());
        if version >= 13 {
            request.topic_data[0].topic_id = id;
        }
        let response = client.call(version, &request).await;
        let placed = &response.responses[0].partition_responses[0];
        assert_eq!((placed.error_code, placed.base_offset, placed.log_append_time_ms), (0, expected, -1), "v{version}");
        expected += 3;
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_batch_is_said_in_kafkas_codes() {
    let (cluster, mut client) = start(one_topic().max_message_bytes(1000)).await;
    let good = Batch::of(["a"]);
    let damaged = |at: usize| {
        let mut bytes = good.bytes().to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let with_attributes = |attributes| Batch { attributes, ..good.clone() }.bytes();
    let long = "x".repeat(1000);
    let tomorrow = 86_400_000 + std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let cases = [
        ("unknown topic", "absent", 0, good.bytes(), ResponseError::UnknownTopicOrPartition),
        ("unknown partition", "orders", 2, good.bytes(), ResponseError::UnknownTopicOrPartition),
        ("checksum", "orders", 0, damaged(20), ResponseError::CorruptMessage),
        ("a byte of the record", "orders", 0, damaged(68), ResponseError::CorruptMessage),
        ("magic", "orders", 0, damaged(16), ResponseError::InvalidRecord),
        ("length", "orders", 0, damaged(11), ResponseError::InvalidRecord),
        ("two batches", "orders", 0, [good.bytes(), good.bytes()].concat().into(), ResponseError::InvalidRecord),
        ("no bytes", "orders", 0, Bytes::new(), ResponseError::InvalidRecord),
        ("too large", "orders", 0, Batch::of([&long]).bytes(), ResponseError::MessageTooLarge),
        ("control batch", "orders", 0, with_attributes(0x20), ResponseError::InvalidRecord),
        (
            "transactional, without an id",
            "orders",
            0,
            with_attributes(0x10),
            ResponseError::TransactionalIdAuthorizationFailed,
        ),
        ("codec 5", "orders", 0, with_attributes(5), ResponseError::UnsupportedCompressionType),
        ("future", "orders", 0, Batch::of(["a"]).at(tomorrow).bytes(), ResponseError::InvalidTimestamp),
    ];
    for (case, topic, partition, batch, expected) in cases {
        let answer = client.produce(topic, partition, batch).await;
        assert_eq!((answer.error_code, answer.base_offset), (expected.code(), -1), "{case}");
    }
    let answer = client.produce("orders", 0, good.bytes()).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0), "nothing of the above was kept");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_bad_partition_does_not_touch_its_neighbours() {
    let (cluster, mut client) = start(one_topic()).await;
    let mut request = produce_request("orders", 0, Bytes::from_static(b"nonsense"));
    let good = PartitionProduceData::default().with_index(1).with_records(Some(Batch::of(["a"]).bytes()));
    request.topic_data[0].partition_data.push(good);
    let answers = client.call(9, &request).await.responses[0].partition_responses.clone();
    assert_eq!(answers[0].error_code, ResponseError::InvalidRecord.code());
    assert_eq!((answers[1].error_code, answers[1].base_offset), (0, 0));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_repeated_batch_is_answered_with_its_first_offset_and_timestamp() {
    let (cluster, mut client) = start(one_topic()).await;
    let batches: Vec<Batch> = (0..6).map(|n| Batch::of(["a", "b"]).sequence(n * 2).at(1000 * i64::from(n))).collect();
    for (n, batch) in (0..).zip(&batches) {
        assert_eq!(client.produce("orders", 0, batch.bytes()).await.base_offset, n * 2);
    }
    for n in (1..6).rev() {
        let again = client.produce("orders", 0, batches[n].bytes()).await;
        assert_eq!((again.error_code, again.base_offset), (0, n as i64 * 2), "batch {n}");
        assert_eq!(again.log_append_time_ms, 1000 * n as i64 + 1, "its greatest timestamp");
    }
    let forgotten = client.produce("orders", 0, batches[0].bytes()).await;
    assert_eq!(forgotten.error_code, ResponseError::OutOfOrderSequenceNumber.code(), "the sixth from the end");
    let (_, region) = client.fetch("orders", 0).await;
    assert_eq!(base_offsets(region), [0, 2, 4, 6, 8, 10], "each stands once in the log");
    cluster.shutdown().await;
}

#[tokio::test]
async fn gaps_and_epochs_are_refused_over_the_wire() {
    let (cluster, mut client) = start(one_topic()).await;
    let story = [
        ("first", (7, 0, 0), 0),
        ("gap", (7, 0, 5), ResponseError::OutOfOrderSequenceNumber.code()),
        ("next", (7, 0, 1), 0),
        ("new epoch not from 0", (7, 1, 2), ResponseError::OutOfOrderSequenceNumber.code()),
        ("new epoch", (7, 1, 0), 0),
        ("old epoch", (7, 0, 2), ResponseError::InvalidProducerEpoch.code()),
        ("unknown producer in the middle", (8, 0, 40), 0),
    ];
    for (step, (id, epoch, sequence), code) in story {
        let answer = client.produce("orders", 0, Batch::of(["a"]).producer(id, epoch, sequence).bytes()).await;
        assert_eq!(answer.error_code, code, "{step}");
    }
    cluster.shutdown().await;
    let (cluster, mut client) = start(one_topic().strict_producer_start(true)).await;
    let answer = client.produce("orders", 0, Batch::of(["a"]).producer(8, 0, 40).bytes()).await;
    assert_eq!(answer.error_code, ResponseError::UnknownProducerId.code());
    cluster.shutdown().await;
}

#[tokio::test]
async fn acks_0_is_not_answered() {
    let (cluster, mut client) = start(one_topic()).await;
    client.send(9, &produce_request("orders", 0, Batch::of(["a"]).bytes()).with_acks(0)).await;
    let versions = client.call(3, &api_versions(3)).await;
    assert_eq!(versions.error_code, 0, "the next answer on the connection belongs to the next request");
    let answer = client.call(9, &produce_request("orders", 0, Batch::of(["b"]).bytes()).with_acks(7)).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ResponseError::InvalidRequiredAcks.code());
    assert_eq!(base_offsets(client.fetch("orders", 0).await.1), [0]);
    client.send(9, &produce_request("absent", 0, Batch::of(["a"]).bytes()).with_acks(0)).await;
    client.closed().await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn requests_of_a_connection_are_answered_in_order() {
    let (cluster, mut client) = start(one_topic()).await;
    for n in 0..20 {
        client.send(9, &produce_request("orders", 0, Batch::of(["a"]).sequence(n).bytes())).await;
    }
    for n in 0..20 {
        let answer = client.receive::<ProduceRequest>(9, n + 1).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, i64::from(n));
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn every_producer_gets_an_id_of_its_own() {
    let (cluster, mut client) = start(one_topic()).await;
    let mut ids = Vec::new();
    for version in 0..=5 {
        let answer = client.call(version, &InitProducerIdRequest::default().with_transactional_id(None)).await;
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0), "v{version}");
        ids.push(answer.producer_id.0);
    }
    ids.dedup();
    assert_eq!(ids.len(), 6);
    cluster.shutdown().await;
}
