//! The producer against a real broker: what it acknowledged stands in the log, once and in order, whatever happened.
//!
//! Tests that stop the broker would disturb the others, so all of them take the same lock.

use std::{sync::Mutex, time::Duration};

use milena::{ErrorKind, Kafka, Record, admin::NewTopic, record::Compression};
use protocol_tests::{
    Live, PATIENCE,
    readback::{check_numbers, read_back},
    run_live, unique,
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn run(test: &str, body: impl AsyncFnOnce(Live) -> milena::Result<()>) {
    let _alone = alone();
    run_live(test, body);
}

#[test]
fn a_killed_broker_costs_nothing() {
    run("a_killed_broker_costs_nothing", async |live| {
        const COUNT: u64 = 300_000;
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("killed");
        kafka.admin().create_topic(NewTopic::new(&topic, 6, 1)).await?;
        let producer = kafka.producer().compression(Compression::Snappy).batch_size(20_000).build().await?;
        let watched = producer.clone();
        let kill = tokio::task::spawn_blocking(move || {
            // In the middle: some records are acknowledged, most are not.
            let deadline = std::time::Instant::now() + PATIENCE;
            while watched.metrics().records_acked < COUNT / 10 && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            live.control(&["kill"]);
            let acked = watched.metrics().records_acked;
            live.control(&["start"]);
            acked
        });
        let mut last = None;
        for number in 0..COUNT {
            last = Some(producer.enqueue(Record::to(&topic).value(number.to_string())).await?);
            if number % 5_000 == 0 {
                // A steady stream instead of one burst, so that the kill falls into it.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        last.expect("one was sent").await?;
        producer.flush().await?;
        let acked_before = kill.await.expect("the broker was restarted");
        assert!((COUNT / 10..COUNT).contains(&acked_before), "killed in the middle: {acked_before} were acknowledged");
        let metrics = producer.metrics();
        assert_eq!((metrics.records_acked, metrics.records_failed), (COUNT, 0));
        producer.close().await?;
        check_numbers(&read_back(&kafka, &topic).await?, COUNT as usize);
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn a_paused_broker_costs_nothing() {
    run("a_paused_broker_costs_nothing", async |live| {
        const COUNT: u64 = 20_000;
        let kafka =
            Kafka::builder().bootstrap(&live.bootstrap).property("request.timeout.ms", "2000").connect().await?;
        let topic = unique("paused");
        kafka.admin().create_topic(NewTopic::new(&topic, 2, 1)).await?;
        let producer = kafka.producer().batch_size(2_000).build().await?;
        for number in 0..COUNT / 2 {
            producer.enqueue(Record::to(&topic).value(number.to_string())).await?.detach();
        }
        live.control(&["pause"]);
        for number in COUNT / 2..COUNT {
            producer.enqueue(Record::to(&topic).value(number.to_string())).await?.detach();
        }
        // Longer than a request may take: requests that were written are given up and asked again.
        tokio::time::sleep(Duration::from_secs(3)).await;
        live.control(&["resume"]);
        producer.flush().await?;
        assert_eq!(producer.metrics().records_acked, COUNT);
        producer.close().await?;
        check_numbers(&read_back(&kafka, &topic).await?, COUNT as usize);
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn p17_a_batch_that_the_broker_finds_too_large_says_its_size() {
    run("p17_a_batch_that_the_broker_finds_too_large_says_its_size", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("small");
        kafka.admin().create_topic(NewTopic::new(&topic, 1, 1).config("max.message.bytes", "1000")).await?;
        let producer = kafka.producer().build().await?;
        let error = producer.send(Record::to(&topic).value(vec![b'x'; 5_000])).await.unwrap_err();
        assert!(error.to_string().contains("50"), "{error}");
        assert!(!error.maybe_written());
        let ack = producer.send(Record::to(&topic).value("still alive")).await?;
        assert_eq!(ack.offset, Some(0), "the refused batch left no gap");
        let error = producer.send(Record::to(&topic).value(vec![b'x'; 2_000_000])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
        assert!(error.to_string().contains("1048576") && error.to_string().contains("20000"), "both sizes: {error}");
        producer.close().await?;
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn an_unknown_topic_is_an_error_within_its_bound() {
    run("an_unknown_topic_is_an_error_within_its_bound", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let producer = kafka.producer().max_block(Duration::from_secs(2)).build().await?;
        let error = producer.send(Record::to("there-is-no-such-topic").value("x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}");
        assert!(error.to_string().contains("there-is-no-such-topic"));
        producer.close().await
    });
}

#[test]
fn kip_126_a_topic_with_a_small_limit_takes_the_batches_of_a_large_producer() {
    run("kip_126_a_topic_with_a_small_limit_takes_the_batches_of_a_large_producer", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        for codec in [Compression::None, Compression::Zstd] {
            let topic = unique("small");
            kafka.admin().create_topic(NewTopic::new(topic.as_str(), 2, 1).config("max.message.bytes", "3000")).await?;
            let producer = kafka.producer().compression(codec).build().await?;
            for number in 0..20_000 {
                producer.enqueue(Record::to(&topic).value(number.to_string())).await?.detach();
            }
            producer.flush().await?;
            producer.close().await?;
            check_numbers(&read_back(&kafka, &topic).await?, 20_000);
            kafka.admin().delete_topic(&topic).await?;
        }
        Ok(())
    });
}
