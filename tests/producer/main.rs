//! The producer against the embedded broker, with everything that can go wrong on the way.
//!
//! A fault is injected, records are sent, and the log is looked at: each record stands there once, in order.

use std::time::Duration;

use milena::{
    ErrorCode, ErrorKind, Kafka, Record, Result,
    admin::{NewTopic, OffsetSpec},
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, When},
    producer::Acks,
    record::Compression,
};

mod batching;
#[path = "../common/mod.rs"]
mod common;
mod copying;
mod ends;
mod limits;
mod silence;
mod topics;

const TOPIC: &str = "t";
const PATIENCE: Duration = Duration::from_secs(60);

async fn cluster(partitions: i32) -> EmbeddedCluster {
    EmbeddedCluster::builder().topic(TOPIC, partitions).start().await.expect("the embedded cluster starts")
}

/// A client that gives up on silence quickly.
async fn client(cluster: &EmbeddedCluster) -> Kafka {
    let impatient = [("request.timeout.ms", "1000"), ("retry.backoff.ms", "10"), ("reconnect.backoff.ms", "10")];
    let builder = impatient.iter().fold(Kafka::builder(), |builder, (name, value)| builder.property(name, value));
    builder.bootstrap(&cluster.bootstrap()).connect().await.expect("it is reachable")
}

async fn in_time<T>(work: impl Future<Output = Result<T>>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time").expect("no error")
}

async fn log_length(kafka: &Kafka) -> i64 {
    let ends = kafka.admin().offsets(TOPIC, OffsetSpec::Latest).await.expect("offsets");
    ends.into_iter().flatten().sum()
}

#[tokio::test]
async fn records_are_acknowledged_with_their_offsets() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    in_time(async {
        let producer = kafka.producer().build().await?;
        for offset in 0..3 {
            let ack = producer.send(Record::to(TOPIC).key("k").value("v").header("h", "x")).await?;
            assert_eq!((ack.partition, ack.offset), (0, Some(offset)));
        }
        producer.close().await
    })
    .await;
    assert_eq!(log_length(&kafka).await, 3);
}

#[tokio::test]
async fn enqueued_records_keep_their_order_and_share_batches() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    in_time(async {
        let producer = kafka.producer().compression(Compression::Snappy).build().await?;
        let mut deliveries = Vec::new();
        for number in 0..10_000 {
            deliveries.push(producer.enqueue(Record::to(TOPIC).value(format!("{number}"))).await?);
        }
        for (number, delivery) in deliveries.into_iter().enumerate() {
            assert_eq!(delivery.await?.offset, Some(number as i64));
        }
        assert!(producer.metrics().batches_acked < 100, "{:?}", producer.metrics());
        producer.close().await
    })
    .await;
}

/// Every fault on the way of a Produce request, at its first, second and fifth one.
#[tokio::test]
async fn p4_no_fault_on_the_way_loses_or_doubles_anything() {
    let faults = [
        FaultAction::Disconnect(When::BeforeApplying),
        FaultAction::Disconnect(When::AfterApplying),
        FaultAction::Silence(When::BeforeApplying),
        FaultAction::Silence(When::AfterApplying),
        FaultAction::WrongCorrelationId,
        FaultAction::CutReply(0),
        FaultAction::CutReply(3),
        FaultAction::CutReply(9),
        FaultAction::Garbage(100),
        FaultAction::ReplyLength(-1),
        FaultAction::ReplyLength(i32::MAX),
        FaultAction::Error(6),  // NOT_LEADER_OR_FOLLOWER
        FaultAction::Error(3),  // UNKNOWN_TOPIC_OR_PARTITION
        FaultAction::Error(7),  // REQUEST_TIMED_OUT
        FaultAction::Error(19), // NOT_ENOUGH_REPLICAS
        FaultAction::Error(20), // NOT_ENOUGH_REPLICAS_AFTER_APPEND
        FaultAction::Error(56), // KAFKA_STORAGE_ERROR
        FaultAction::Throttle(Duration::from_millis(50)),
    ];
    for action in faults {
        for skip in [0, 1, 4] {
            let cluster = cluster(2).await;
            let kafka = client(&cluster).await;
            let fault = cluster.inject(Fault::on(Api::Produce, action.clone()).skip(skip));
            in_time(async {
                let producer = kafka.producer().batch_size(200).linger(Duration::ZERO).build().await?;
                for number in 0..200 {
                    producer.enqueue(Record::to(TOPIC).value(format!("{number:020}"))).await?.detach();
                }
                producer.flush().await?;
                assert_eq!(producer.metrics().records_acked, 200, "{action:?} {skip}");
                producer.close().await
            })
            .await;
            assert_eq!(fault.left(), 0, "{action:?} {skip}: the fault did not happen");
            assert_eq!(log_length(&kafka).await, 200, "{action:?} {skip}");
            cluster.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_broken_chain_starts_a_new_epoch_and_the_producer_lives() {
    for code in [45, 59, 47] {
        let cluster = cluster(1).await;
        let kafka = client(&cluster).await;
        in_time(async {
            let producer = kafka.producer().linger(Duration::ZERO).build().await?;
            producer.send(Record::to(TOPIC).value("a")).await?;
            cluster.inject(Fault::on(Api::Produce, FaultAction::Error(code)));
            for _ in 0..5 {
                producer.send(Record::to(TOPIC).value("b")).await?;
            }
            producer.close().await
        })
        .await;
        assert_eq!(log_length(&kafka).await, 6, "error {code}");
    }
}

#[tokio::test]
async fn a_killed_broker_comes_back_and_nothing_is_missing() {
    let cluster = cluster(3).await;
    let kafka = client(&cluster).await;
    in_time(async {
        let producer = kafka.producer().batch_size(2_000).build().await?;
        for number in 0..20_000 {
            producer.enqueue(Record::to(TOPIC).value(format!("{number}"))).await?.detach();
            if number == 5_000 {
                cluster.kill(0).await;
            }
            if number == 6_000 {
                cluster.restart(0).await?;
            }
        }
        producer.flush().await?;
        producer.close().await
    })
    .await;
    assert_eq!(log_length(&kafka).await, 20_000);
}

#[tokio::test]
async fn p3_a_leader_that_moves_takes_its_records_along() {
    let cluster = EmbeddedCluster::builder().brokers(3).topic(TOPIC, 1).start().await.expect("starts");
    let kafka = client(&cluster).await;
    in_time(async {
        let producer = kafka.producer().batch_size(500).build().await?;
        for number in 0..6_000 {
            producer.enqueue(Record::to(TOPIC).value(format!("{number}"))).await?.detach();
            if number % 1_000 == 500 {
                cluster.move_leader(TOPIC, 0, (number / 1_000) % 3)?;
                tokio::task::yield_now().await;
            }
        }
        producer.flush().await?;
        producer.close().await
    })
    .await;
    assert_eq!(log_length(&kafka).await, 6_000);
}

#[tokio::test]
async fn acks_none_and_one_work_too() {
    for acks in [Acks::None, Acks::Leader] {
        let cluster = cluster(1).await;
        let kafka = client(&cluster).await;
        in_time(async {
            let producer = kafka.producer().acks(acks).build().await?;
            for _ in 0..10 {
                let ack = producer.send(Record::to(TOPIC).value("x")).await?;
                assert_eq!(ack.offset.is_some(), acks == Acks::Leader);
            }
            while log_length(&kafka).await < 10 {
                tokio::task::yield_now().await;
            }
            producer.close().await
        })
        .await;
    }
}

/// Requests behind the refused one succeed; acknowledged batches must not be sent again.
#[tokio::test]
async fn many_in_flight_without_idempotence_double_nothing_that_was_acknowledged() {
    for code in [19, 6, 3] {
        let cluster = cluster(1).await;
        let kafka = client(&cluster).await;
        in_time(async {
            let builder = kafka.producer().acks(Acks::Leader).max_in_flight(20).batch_size(200);
            let producer = builder.linger(Duration::ZERO).build().await?;
            producer.send(Record::to(TOPIC).value("known")).await?;
            cluster.inject(Fault::on(Api::Produce, FaultAction::Error(code)).skip(3));
            for number in 1..200 {
                drop(producer.enqueue(Record::to(TOPIC).value(format!("{number:020}"))).await?);
            }
            producer.close().await
        })
        .await;
        assert_eq!(log_length(&kafka).await, 200, "error {code}");
    }
}
