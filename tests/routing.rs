//! The producer finds its way, on paused time: brokers that come and go, topics that are made again, epochs that end.
//!
//! Every story says how long it may take, by the virtual clock.
#![cfg(feature = "embedded")]

use std::time::Duration;

use milena::wire::messages::{CreatePartitionsRequest, CreatePartitionsTopic};
use milena::{
    ErrorKind, Kafka, Record, Result,
    admin::{NewTopic, OffsetSpec},
    consumer::StartFrom,
    embedded::{Api, Builder, EmbeddedCluster, Fault, FaultAction, FaultHandle, MemoryNetwork, When},
};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(600);

/// A cluster in memory with these topics, one replica each, and a client with the default settings but for these.
async fn setting(brokers: i32, topics: &[(&str, i32)], properties: &[(&str, &str)]) -> (EmbeddedCluster, Kafka) {
    let builder = EmbeddedCluster::builder().brokers(brokers);
    let builder = topics.iter().fold(builder, |builder, (name, partitions)| builder.topic(*name, *partitions));
    built(builder, properties).await
}

async fn built(builder: Builder, properties: &[(&str, &str)]) -> (EmbeddedCluster, Kafka) {
    let network = MemoryNetwork::new();
    let cluster = builder.memory(&network).start().await.expect("it starts");
    let bootstrap = properties.iter().all(|(name, _)| *name != "bootstrap.servers");
    let kafka = properties.iter().fold(Kafka::builder(), |builder, (name, value)| builder.property(name, value));
    let kafka = if bootstrap { kafka.bootstrap(&cluster.bootstrap()) } else { kafka };
    let kafka = kafka.memory_network(&network).connect().await.expect("it is reachable");
    (cluster, kafka)
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

fn metadata_requests(cluster: &EmbeddedCluster) -> u64 {
    cluster.requests(Api::Metadata).values().sum()
}

/// Half a minute without a leader, with records waiting for it in many partitions.
#[tokio::test(start_paused = true)]
async fn n7_partitions_without_a_leader_ask_together_and_not_all_the_time() {
    let (cluster, kafka) = setting(2, &[("t", 20)], &[]).await;
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    timed(producer.send(Record::to("t").value("known"))).await;
    cluster.kill(0).await;
    for partition in 0..20 {
        drop(timed(producer.enqueue(Record::to("t").partition(partition).value("x"))).await);
    }
    let before = metadata_requests(&cluster);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let asked = metadata_requests(&cluster) - before;
    println!("{asked} questions in 30 s");
    assert!((30..=250).contains(&asked), "{asked} questions in 30 s");
    cluster.restart(0).await.expect("it comes back");
    let (_, took) = timed(producer.flush()).await;
    assert!(took < Duration::from_millis(500), "{took:?}");
}

/// The client was told of broker 1, and then broker 0 alone is left, which lets it connect and tells nothing.
async fn lost(strategy: &str, trigger: &str) -> Result<Duration> {
    let properties = [
        ("bootstrap.servers", "broker-1:9092"),
        ("metadata.recovery.strategy", strategy),
        ("metadata.recovery.rebootstrap.trigger.ms", trigger),
        ("max.block.ms", "900000"),
    ];
    let (cluster, kafka) = setting(2, &[("t", 1)], &properties).await;
    let producer = kafka.producer().build().await?;
    timed(producer.send(Record::to("t").partition(0).value("known"))).await;
    cluster.kill(1).await;
    assert!(kafka.admin().offsets("nowhere", OffsetSpec::Latest).await.is_err(), "metadata without broker 1");
    let silence = FaultAction::Silence(When::BeforeApplying);
    cluster.inject(Fault::on(Api::Metadata, silence).broker(0).times(10_000));
    cluster.restart(1).await?;
    cluster.create_topic("new", 1)?;
    let begun = Instant::now();
    timeout(Duration::from_secs(890), producer.send(Record::to("new").value("x"))).await.expect("in time")?;
    Ok(begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn kip_1102_who_hears_nothing_of_the_cluster_goes_back_to_the_configured_addresses() {
    for (trigger, at_least, at_most) in [("300000", 300, 345), ("60000", 60, 105)] {
        let took = lost("rebootstrap", trigger).await.expect("it is found");
        println!("trigger {trigger} ms: {took:?}");
        assert!((at_least..at_most).contains(&took.as_secs()), "trigger {trigger} ms: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn kip_1102_a_broker_sends_the_client_back_to_the_configured_addresses() {
    for strategy in ["rebootstrap", "none"] {
        let properties = [("bootstrap.servers", "broker-1:9092"), ("metadata.recovery.strategy", strategy)];
        let (cluster, kafka) = setting(2, &[("t", 2)], &properties).await;
        let sent_back = Fault::on(Api::Metadata, FaultAction::Error(129)).broker(0).times(1_000);
        let sent_back = cluster.inject(sent_back);
        let producer = kafka.producer().build().await.expect("builds");
        timed(async {
            // Whoever is asked first, sooner or later it is broker 0.
            for number in 0..20 {
                cluster.disconnect(1).await;
                cluster.create_topic(&format!("new-{number}"), 1)?;
                let (_, took) = timed(producer.send(Record::to(&format!("new-{number}")).value("x"))).await;
                assert!(strategy == "none" || took < Duration::from_secs(1), "{took:?}");
            }
            Ok(())
        })
        .await;
        assert!(sent_back.left() < 1_000, "nobody asked broker 0");
    }
}

/// KIP-899: with `none` the configured addresses are asked at the start and never again.
#[tokio::test(start_paused = true)]
async fn n8_the_configured_addresses_are_asked_again_unless_that_is_switched_off() {
    for (strategy, is_found) in [("rebootstrap", true), ("none", false)] {
        let properties = [("bootstrap.servers", "broker-1:9092"), ("metadata.recovery.strategy", strategy)];
        let (cluster, kafka) = setting(2, &[("t", 2)], &properties).await;
        let builder = kafka.producer().delivery_timeout(Duration::from_secs(60)).linger(Duration::ZERO);
        let producer = builder.build().await.expect("builds");
        cluster.kill(1).await;
        assert!(kafka.admin().offsets("nowhere", OffsetSpec::Latest).await.is_err(), "metadata without broker 1");
        for partition in 0..2 {
            drop(timed(producer.enqueue(Record::to("t").partition(partition).value("x"))).await);
        }
        cluster.kill(0).await;
        cluster.restart(1).await.expect("it comes back");
        timeout(PATIENCE, producer.flush()).await.expect("within the delivery timeout").expect_err("broker 0 is gone");
        // The partition that broker 0 leads stays unwritten in either case.
        assert_eq!(producer.metrics().records_acked > 0, is_found, "{strategy}");
    }
}

#[tokio::test(start_paused = true)]
async fn kip_951_the_leader_that_a_refusal_names_is_written_to_without_metadata() {
    let (cluster, kafka) = setting(3, &[("t", 1)], &[]).await;
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    timed(producer.send(Record::to("t").value("known"))).await;
    let silence = FaultAction::Silence(When::BeforeApplying);
    cluster.inject(Fault::on(Api::Metadata, silence).times(1_000));
    for broker in [1, 2, 0, 2] {
        cluster.move_leader("t", 0, broker).expect("moved");
        let (_, took) = timed(producer.send(Record::to("t").value("x"))).await;
        assert!(took < Duration::from_millis(150), "{took:?} to find broker {broker}: one backoff is allowed");
    }
}

/// A broker is emptied of its leaders, then stops: nobody is told, and nothing waits longer than a backoff or two.
#[tokio::test(start_paused = true)]
async fn a_graceful_shutdown_is_no_error_and_no_stall() {
    let builder = EmbeddedCluster::builder().brokers(3).replication_factor(3).topic("t", 6);
    let (cluster, kafka) = built(builder, &[]).await;
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    let mut longest = Duration::ZERO;
    for number in 0..300 {
        if number % 100 == 50 {
            let broker = number / 100;
            for partition in 0..6 {
                cluster.move_leader("t", partition, (broker + 1) % 3).expect("moved");
            }
            cluster.kill(broker).await;
        }
        if number % 100 == 90 {
            cluster.restart(number / 100).await.expect("it comes back");
        }
        let (_, took) = timed(producer.send(Record::to("t").partition(number % 6).value("x"))).await;
        longest = longest.max(took);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("longest wait {longest:?}");
    assert!(longest < Duration::from_millis(300), "{longest:?}");
    assert_eq!((producer.metrics().records_failed, length(&kafka, "t").await), (0, 300));
}

/// What is not written to is not asked for, and is found again with its numbers when it is.
#[tokio::test(start_paused = true)]
async fn kip_526_a_topic_that_nobody_writes_to_is_asked_for_no_more() {
    let times = [("metadata.max.age.ms", "10000"), ("metadata.max.idle.ms", "30000")];
    let (cluster, kafka) = setting(1, &[("used", 1), ("idle", 2), ("read", 1)], &times).await;
    let mut consumer = kafka
        .consumer()
        .assign([(milena::TopicPartition::new("read", 0), StartFrom::Beginning)])
        .await
        .expect("assigned");
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    for round in 1..4 {
        timed(producer.send(Record::to("read").value("x"))).await;
        timed(producer.send(Record::to("idle").partition(0).value("x"))).await;
        // Enough for the idle time and two looks at the cluster.
        for _ in 0..11 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            timed(producer.send(Record::to("used").value("x"))).await;
        }
        for (topic, is_named) in [("used", true), ("read", true), ("idle", false)] {
            // A fault that does nothing counts the requests that name the topic.
            let naming = Fault::on(Api::Metadata, FaultAction::Delay(Duration::ZERO)).topic(topic).times(1_000);
            let naming = cluster.inject(naming);
            timed(producer.send(Record::to("used").value("x"))).await;
            tokio::time::sleep(Duration::from_secs(15)).await;
            assert_eq!(naming.left() < 1_000, is_named, "{topic}, round {round}");
            cluster.clear_faults();
        }
        assert!(producer.try_enqueue(Record::to("idle").value("x")).is_err(), "the producer has forgotten it");
        let ack = timed(producer.send(Record::to("idle").partition(0).value("y"))).await.0;
        assert_eq!(ack.offset, Some(2 * round - 1), "its numbers go on");
    }
    assert!(timed(consumer.poll()).await.0.is_some());
    timed(producer.close()).await;
}

/// What a request holds is bounded; what is larger goes alone.
#[tokio::test(start_paused = true)]
async fn a_request_holds_so_many_bytes_of_batches() {
    for (request_bytes, expected) in [(8 << 20, 1), (21_000, 2), (19_000, 3), (1, 3)] {
        let (cluster, kafka) = setting(1, &[("t", 3)], &[]).await;
        let producer = kafka.producer().request_bytes(request_bytes).build().await.expect("builds");
        let value = "x".repeat(10_000);
        let record = |partition| Record::to("t").partition(partition).value(&value);
        for partition in 0..3 {
            timed(producer.send(record(partition))).await;
        }
        let requests = || cluster.requests(Api::Produce).values().sum::<u64>();
        let before = requests();
        timed(async { producer.enqueue_batch((0..3).map(record)).await?.settled().await }).await;
        assert_eq!(requests() - before, expected, "at most {request_bytes} bytes");
        assert_eq!(length(&kafka, "t").await, 6);
    }
}

/// Records that wait, or whose fate is not known, belong to the name: they go to the topic that has it now, once.
#[tokio::test(start_paused = true)]
async fn kip_516_what_waits_goes_to_the_topic_that_was_made_again_once() {
    let (cluster, kafka) = setting(1, &[("t", 1)], &[]).await;
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    for _ in 0..3 {
        timed(producer.send(Record::to("t").value("old"))).await;
    }
    for action in [FaultAction::Silence(When::AfterApplying), FaultAction::Silence(When::BeforeApplying)] {
        let silent = cluster.inject(Fault::on(Api::Produce, action));
        let mut waiting = vec![timed(producer.enqueue(Record::to("t").value("uncertain"))).await.0];
        silent.exhausted().await;
        for _ in 0..3 {
            waiting.push(timed(producer.enqueue(Record::to("t").value("queued"))).await.0);
        }
        timed(kafka.admin().delete_topic("t")).await;
        timed(kafka.admin().create_topic(NewTopic::new("t", 1, 1))).await;
        for (offset, delivery) in waiting.into_iter().enumerate() {
            assert_eq!(timed(delivery).await.0.offset, Some(offset as i64));
        }
        timed(producer.send(Record::to("t").value("new"))).await;
        assert_eq!(length(&kafka, "t").await, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn p16_a_topic_that_appears_is_written_to_within_a_backoff() {
    let (cluster, kafka) = setting(3, &[], &[]).await;
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    let late = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        cluster.create_topic("late", 1)
    };
    let send = producer.send(Record::to("late").value("x"));
    let ((), took) = timed(async { tokio::try_join!(send, late).map(drop) }).await;
    assert!(took < Duration::from_millis(8_300), "{took:?}");
    // And where its leader does not know of it yet.
    for code in [3, 100, 6, 5] {
        let unknown = cluster.inject(Fault::on(Api::Produce, FaultAction::Error(code)).times(3));
        let topic = format!("new-{code}");
        cluster.create_topic(&topic, 1).expect("made");
        let (_, took) = timed(producer.send(Record::to(&topic).value("x"))).await;
        assert!(unknown.left() == 0 && took < Duration::from_millis(1_500), "{code}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn p15_a_metadata_flicker_fails_nothing_that_waits() {
    for code in [3, 5, 100, 29] {
        let (cluster, kafka) = setting(2, &[("t", 1)], &[]).await;
        let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
        timed(producer.send(Record::to("t").value("known"))).await;
        let flicker = cluster.inject(Fault::on(Api::Metadata, FaultAction::Error(code)).times(4));
        cluster.inject(Fault::on(Api::Produce, FaultAction::Error(3)).times(4));
        let (ack, took) = timed(producer.send(Record::to("t").value("x"))).await;
        assert_eq!(ack.offset, Some(1), "{code}");
        assert!(flicker.left() < 4 && took < Duration::from_secs(3), "{code}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn p5_a_record_fails_at_its_time_while_nobody_knows_the_leader() {
    let limit = Duration::from_secs(30);
    for brokers in [1, 2] {
        let (cluster, kafka) = setting(brokers, &[("t", 1)], &[]).await;
        cluster.move_leader("t", 0, 0).expect("moved");
        let builder = kafka.producer().linger(Duration::ZERO).delivery_timeout(limit);
        let producer = builder.build().await.expect("builds");
        timed(producer.send(Record::to("t").value("known"))).await;
        cluster.kill(0).await;
        let begun = Instant::now();
        let error = timeout(PATIENCE, producer.send(Record::to("t").value("x"))).await.expect("in time");
        let (error, took) = (error.expect_err("there is no leader"), begun.elapsed());
        assert!(error.kind() == ErrorKind::Timeout && !error.maybe_written(), "{error}");
        assert!(took >= limit && took < limit + Duration::from_millis(100), "{took:?}");
    }
}

/// An old broker forgets a producer whose records have left the log, and refuses its next number.
#[tokio::test(start_paused = true)]
async fn kip_360_a_producer_that_was_forgotten_writes_on() {
    let builder = EmbeddedCluster::builder().topic("t", 1).strict_producer_start(true);
    let (cluster, kafka) = built(builder.producer_id_expiration(Duration::from_secs(60)), &[]).await;
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    for number in 0..6_i64 {
        let ack = timed(producer.send(Record::to("t").value("x"))).await.0;
        assert_eq!(ack.offset, Some(number));
        tokio::time::sleep(Duration::from_secs(100)).await;
        if number % 2 == 0 {
            timed(kafka.admin().create_topic(NewTopic::new(format!("other-{number}"), 1, 1))).await;
            cluster.apply_retention();
        }
    }
    assert_eq!(length(&kafka, "t").await, 6);
}

#[tokio::test(start_paused = true)]
async fn partitions_that_are_added_get_records_when_metadata_has_its_age() {
    let (_cluster, kafka) = setting(2, &[("t", 1)], &[("metadata.max.age.ms", "10000")]).await;
    let producer = kafka.producer().batch_size(100).linger(Duration::ZERO).build().await.expect("builds");
    timed(producer.send(Record::to("t").value("known"))).await;
    let topic = CreatePartitionsTopic { name: "t".into(), count: 4, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1_000, validate_only: false };
    timed(kafka.request(request).controller().into_future()).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        seen.insert(timed(producer.send(Record::to("t").value(vec![b'x'; 60]))).await.0.partition);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

/// How often the runtime's thread goes to sleep during an hour of the virtual clock.
async fn wakes_in_an_hour() -> u64 {
    let parked = || tokio::runtime::Handle::current().metrics().worker_park_count(0);
    let before = parked();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    parked() - before
}

/// A client that has nothing to do and knows of 1,000 partitions wakes for metadata and for nothing else.
#[tokio::test(start_paused = true)]
async fn an_idle_producer_wakes_for_metadata_alone() {
    let network = MemoryNetwork::new();
    let cluster = EmbeddedCluster::builder().brokers(3).topic("t", 1_000).memory(&network).start().await.unwrap();
    let alone = wakes_in_an_hour().await;
    let kafka = Kafka::builder().bootstrap(&cluster.bootstrap()).memory_network(&network).connect().await.unwrap();
    let producer = kafka.producer().build().await.unwrap();
    for partition in 0..1_000 {
        drop(timed(producer.enqueue(Record::to("t").partition(partition).value("x"))).await);
    }
    timed(producer.flush()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = metadata_requests(&cluster);
    let wakes = wakes_in_an_hour().await.saturating_sub(alone);
    let asked = metadata_requests(&cluster) - before;
    println!("{wakes} wakes and {asked} questions in an hour; the cluster alone {alone}");
    assert!((11..=13).contains(&asked), "{asked}");
    assert!(wakes <= 12 * asked, "{wakes} wakes for {asked} refreshes");
}

/// An unclean election took acknowledged records away: the leader expects older numbers. What was never sent goes on
/// under a new epoch; what may stand in the log is not written twice, and its error says so.
#[tokio::test(start_paused = true)]
async fn kip_360_a_log_that_lost_records_is_written_on_and_nothing_silently_twice() {
    for is_uncertain in [false, true] {
        let (cluster, kafka) = setting(1, &[("t", 1)], &[]).await;
        let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
        for _ in 0..4 {
            timed(producer.send(Record::to("t").value("x"))).await;
        }
        let silence = FaultAction::Silence(When::BeforeApplying);
        let silent = is_uncertain.then(|| cluster.inject(Fault::on(Api::Produce, silence)));
        if !is_uncertain {
            cluster.truncate("t", 0, 2).expect("lost");
        }
        let uncertain = timed(producer.enqueue(Record::to("t").value("y"))).await.0;
        if let Some(silent) = silent {
            silent.exhausted().await;
            cluster.truncate("t", 0, 2).expect("lost");
        }
        let outcome = timeout(PATIENCE, uncertain).await.expect("in time");
        assert_eq!(outcome.as_ref().is_err_and(milena::Error::maybe_written), is_uncertain, "{outcome:?}");
        timed(producer.send(Record::to("t").value("z"))).await;
        assert_eq!(length(&kafka, "t").await, if is_uncertain { 3 } else { 4 });
    }
}

/// A lane whose broker has left the cluster neither dials nor spins.
#[tokio::test(start_paused = true)]
async fn n7_a_broker_that_left_costs_no_wakes() {
    let (cluster, kafka) = setting(2, &[("t", 2)], &[]).await;
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    for partition in 0..2 {
        timed(producer.send(Record::to("t").partition(partition).value("known"))).await;
    }
    cluster.kill(0).await;
    for partition in 0..2 {
        drop(timed(producer.enqueue(Record::to("t").partition(partition).value("x"))).await);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let parked = || tokio::runtime::Handle::current().metrics().worker_park_count(0);
    let before = parked();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let wakes = parked() - before;
    println!("{wakes} wakes in a minute without a leader");
    assert!(wakes < 6_000, "{wakes} wakes");
}

/// The connection that asked who the brokers are goes on as its broker's; the one for records is the second and last.
#[tokio::test(start_paused = true)]
async fn a_client_of_one_broker_dials_twice() {
    let (cluster, kafka) = setting(1, &[("orders", 3)], &[]).await;
    let producer = kafka.producer().build().await.expect("builds");
    timed(producer.send(Record::to("orders").value("first"))).await;
    assert_eq!(length(&kafka, "orders").await, 1);
    assert_eq!(cluster.connections().values().sum::<u64>(), 2);
}
