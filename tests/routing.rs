//! The producer finds its way, on paused time: brokers that come and go, topics that are made again, epochs that end.
//!
//! Every story says how long it may take, by the virtual clock.
#![cfg(feature = "embedded")]

use std::time::Duration;

use milena::{
    Kafka, Record, Result,
    admin::OffsetSpec,
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, FaultHandle, MemoryNetwork, When},
};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(600);

/// A cluster in memory and a client with the default settings, but for these.
async fn setting(brokers: i32, topics: &[(&str, i32)], properties: &[(&str, &str)]) -> (EmbeddedCluster, Kafka) {
    let network = MemoryNetwork::new();
    let builder = EmbeddedCluster::builder().brokers(brokers).replication_factor(1).memory(&network);
    let builder = topics.iter().fold(builder, |builder, (name, partitions)| builder.topic(*name, *partitions));
    let cluster = builder.start().await.expect("it starts");
    let kafka = properties.iter().fold(Kafka::builder(), |builder, (name, value)| builder.property(name, value));
    let kafka = kafka.bootstrap(&cluster.bootstrap()).memory_network(&network).connect();
    (cluster, kafka.await.expect("it is reachable"))
}

/// What the work brings, and how long it took by the virtual clock.
async fn timed<T>(work: impl Future<Output = Result<T>>) -> (T, Duration) {
    let begun = Instant::now();
    let outcome = timeout(PATIENCE, work).await.expect("in time").expect("no error");
    (outcome, begun.elapsed())
}

async fn length(kafka: &Kafka, topic: &str) -> i64 {
    kafka.admin().offsets(topic, OffsetSpec::Latest).await.expect("offsets").into_iter().flatten().sum()
}

fn error(cluster: &EmbeddedCluster, code: i16) -> FaultHandle {
    cluster.inject(Fault::on(Api::Produce, FaultAction::Error(code)))
}

/// Broker 0 leads `calm`, which nobody answers for; broker 1 leads `broken`, whose chain breaks.
#[tokio::test(start_paused = true)]
async fn kip_360_a_broken_chain_in_one_partition_holds_up_no_other() {
    let (cluster, kafka) = setting(2, &[("calm", 1), ("broken", 1)], &[]).await;
    cluster.move_leader("calm", 0, 0).expect("moved");
    cluster.move_leader("broken", 0, 1).expect("moved");
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    for topic in ["calm", "broken"] {
        timed(producer.send(Record::to(topic).value("known"))).await;
    }
    let silent = cluster.inject(Fault::on(Api::Produce, FaultAction::Silence(When::AfterApplying)).topic("calm"));
    let uncertain = timed(producer.enqueue(Record::to("calm").value("uncertain"))).await.0;
    silent.exhausted().await;
    cluster.inject(Fault::on(Api::Produce, FaultAction::Error(45)).topic("broken"));
    let (_, took) = timed(async {
        for _ in 0..10 {
            producer.send(Record::to("broken").value("x")).await?;
        }
        Ok(())
    })
    .await;
    assert!(took < Duration::from_millis(300), "{took:?}: it waited for the other partition");
    assert_eq!(timed(uncertain).await.0.offset, Some(1), "finished under the old epoch, once");
    timed(producer.send(Record::to("calm").value("new epoch"))).await;
    assert_eq!((length(&kafka, "calm").await, length(&kafka, "broken").await), (3, 11));
}

/// Each error ends an epoch, and every partition follows in its own time.
#[tokio::test(start_paused = true)]
async fn p6_epochs_that_end_all_the_time_lose_and_double_nothing() {
    let (cluster, kafka) = setting(3, &[("t", 6)], &[]).await;
    let producer = kafka.producer().linger(Duration::ZERO).batch_size(300).build().await.expect("builds");
    timed(async {
        for number in 0..3_000_u32 {
            if number % 100 == 50 {
                error(&cluster, [45, 59, 47, 19][number as usize / 100 % 4]);
            }
            let record = Record::to("t").partition((number % 6) as i32).value(format!("{number:020}"));
            producer.enqueue(record).await?.detach();
        }
        producer.flush().await
    })
    .await;
    assert_eq!(producer.metrics().records_acked, 3_000);
    assert_eq!(length(&kafka, "t").await, 3_000);
}

/// How long a record waits after its broker is back, for brokers that were away for different times.
async fn waits_after_restart(brokers: i32) -> Vec<Duration> {
    let mut waits = Vec::new();
    for tenths in (5..100).step_by(3) {
        fastrand::seed(tenths);
        let (cluster, kafka) = setting(brokers, &[("t", 1)], &[]).await;
        cluster.move_leader("t", 0, 0).expect("moved");
        let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
        timed(producer.send(Record::to("t").value("known"))).await;
        cluster.kill(0).await;
        let waiting = timed(producer.enqueue(Record::to("t").value("x"))).await.0;
        tokio::time::sleep(Duration::from_millis(tenths * 100)).await;
        cluster.restart(0).await.expect("it comes back");
        waits.push(timed(waiting).await.1);
        cluster.shutdown().await;
    }
    waits.sort_unstable();
    waits
}

/// The backoff between two dials ends at a second (`reconnect.backoff.max.ms`) and a fifth; nothing is added to it, and
/// where another broker tells that this one is back, nothing is left of it.
#[tokio::test(start_paused = true)]
async fn n7_a_broker_that_is_back_is_written_to_at_once() {
    let limits = [(1, 1_250, 600), (3, 550, 300)];
    let waits = [waits_after_restart(1).await, waits_after_restart(3).await];
    for ((brokers, longest, half), waits) in limits.into_iter().zip(&waits) {
        let (median, max) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        println!("{brokers} brokers: median {median:?}, longest {max:?}");
        assert!(max < Duration::from_millis(longest) && median < Duration::from_millis(half), "{waits:?}");
    }
}
