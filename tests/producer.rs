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
async fn p17_a_record_over_the_limit_is_refused_with_both_sizes() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().max_request_size(1_000).build()).await;
    let error = producer.enqueue(Record::to(TOPIC).value(vec![0; 2_000])).await.expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
    assert!(error.to_string().contains("1000") && error.to_string().contains("2070"), "{error}");
    in_time(producer.send(Record::to(TOPIC).value("fits"))).await;
}

/// The topic takes batches of 2,000 bytes, the producer begins with a mebibyte.
#[tokio::test]
async fn kip_126_batches_that_are_too_large_are_split_until_they_fit() {
    for codec in [Compression::None, Compression::Lz4] {
        for action in [None, Some(FaultAction::Disconnect(When::AfterApplying))] {
            let cluster = EmbeddedCluster::builder().start().await.expect("the embedded cluster starts");
            let kafka = client(&cluster).await;
            let topic = NewTopic::new(TOPIC, 1, 1).config("max.message.bytes", "2000");
            in_time(kafka.admin().create_topic(topic)).await;
            let fault = action.clone().map(|action| cluster.inject(Fault::on(Api::Produce, action).skip(3).times(3)));
            in_time(async {
                let producer = kafka.producer().compression(codec).build().await?;
                let mut random = fastrand::Rng::with_seed(7);
                let mut deliveries = Vec::new();
                for _ in 0..1_000 {
                    let value: [u8; 50] = std::array::from_fn(|_| random.u8(..));
                    deliveries.push(producer.enqueue(Record::to(TOPIC).value(&value[..])).await?);
                }
                for (number, delivery) in deliveries.into_iter().enumerate() {
                    assert_eq!(delivery.await?.offset, Some(number as i64), "{codec} {action:?}");
                }
                producer.flush().await?;
                // What was learnt is kept: later batches are begun in the right size.
                let requests = producer.metrics().requests;
                for _ in 0..10 {
                    producer.enqueue(Record::to(TOPIC).value(&[0; 50][..])).await?.detach();
                }
                producer.flush().await?;
                assert_eq!(producer.metrics().requests, requests + 1);
                producer.close().await
            })
            .await;
            assert!(fault.is_none_or(|fault| fault.left() == 0), "the faults did not happen");
            assert_eq!(log_length(&kafka).await, 1_010, "{codec} {action:?}");
        }
    }
}

#[tokio::test]
async fn kip_126_only_the_record_that_is_too_large_fails() {
    let cluster = EmbeddedCluster::builder().start().await.expect("the embedded cluster starts");
    let kafka = client(&cluster).await;
    in_time(kafka.admin().create_topic(NewTopic::new(TOPIC, 1, 1).config("max.message.bytes", "2000"))).await;
    in_time(async {
        let producer = kafka.producer().linger(Duration::from_millis(100)).build().await?;
        let mut deliveries = Vec::new();
        for number in 0..21 {
            let value = vec![b'v'; if number == 13 { 3_000 } else { 20 }];
            deliveries.push(producer.enqueue(Record::to(TOPIC).value(value)).await?);
        }
        for (number, delivery) in deliveries.into_iter().enumerate() {
            let expected = if number == 13 { Some(ErrorCode::MESSAGE_TOO_LARGE) } else { None };
            assert_eq!(delivery.await.err().and_then(|error| error.code()), expected, "record {number}");
        }
        producer.close().await
    })
    .await;
    assert_eq!(log_length(&kafka).await, 20);
}

#[tokio::test]
async fn p12_a_closed_producer_refuses_and_hangs_nobody() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().linger(PATIENCE * 2).build()).await;
    let other = producer.clone();
    let delivery = in_time(producer.enqueue(Record::to(TOPIC).value("before"))).await;
    in_time(producer.close()).await;
    assert_eq!(in_time(delivery).await.offset, Some(0), "close does not wait for the linger");
    let error = other.enqueue(Record::to(TOPIC).value("after")).await.expect_err("it is closed");
    assert!(error.is_fatal(), "{error}");
    in_time(other.flush()).await;
}

#[tokio::test]
async fn p13_a_full_buffer_does_not_wait_for_the_linger() {
    let cluster = cluster(6).await;
    let kafka = client(&cluster).await;
    in_time(async {
        let producer = kafka.producer().linger(PATIENCE * 2).buffer_memory(200_000).build().await?;
        for number in 0..20_000 {
            producer.enqueue(Record::to(TOPIC).key(format!("{number}")).value(vec![b'x'; 100])).await?.detach();
        }
        producer.close().await
    })
    .await;
    assert_eq!(log_length(&kafka).await, 20_000);
}

#[tokio::test]
async fn p13_memory_that_never_comes_is_an_error_within_its_bound() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let builder = kafka.producer().buffer_memory(100_000).max_block(Duration::from_millis(200));
    let producer = in_time(builder.build()).await;
    in_time(producer.send(Record::to(TOPIC).value("known"))).await;
    cluster.kill(0).await;
    let error = loop {
        if let Err(error) = producer.enqueue(Record::to(TOPIC).value(vec![0; 20_000])).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::BufferFull, "{error}");
    cluster.restart(0).await.expect("restarts");
    in_time(producer.flush()).await;
}

#[tokio::test]
async fn a_dropped_delivery_and_a_dropped_producer_lose_nothing() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().build()).await;
    for _ in 0..100 {
        drop(in_time(producer.enqueue(Record::to(TOPIC).value("x"))).await);
    }
    drop(producer);
    in_time(async {
        while log_length(&kafka).await < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_reported_by_flush_when_nobody_kept_the_delivery() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().build()).await;
    cluster.inject(Fault::on(Api::Produce, FaultAction::Error(29)).times(1));
    drop(in_time(producer.enqueue(Record::to(TOPIC).value("x"))).await);
    let error = producer.flush().await.expect_err("TOPIC_AUTHORIZATION_FAILED");
    assert!(!error.maybe_written() && error.to_string().contains("t-0"), "{error}");
    in_time(producer.send(Record::to(TOPIC).value("the next one is fine"))).await;
}

#[tokio::test]
async fn a_record_that_is_not_acknowledged_in_time_says_that_it_may_be_written() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let timeout = Duration::from_millis(1_500);
    let producer = in_time(kafka.producer().linger(Duration::ZERO).delivery_timeout(timeout).build()).await;
    cluster.inject(Fault::on(Api::Produce, FaultAction::Silence(When::AfterApplying)).times(1_000));
    let error = producer.send(Record::to(TOPIC).value("x")).await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.maybe_written());
    cluster.clear_faults();
    in_time(producer.send(Record::to(TOPIC).value("y"))).await;
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

#[tokio::test]
async fn p16_a_topic_that_is_made_late_is_waited_for() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().build()).await;
    let asked = cluster.inject(Fault::on(Api::Metadata, FaultAction::Delay(Duration::ZERO)).topic("late"));
    let sending = tokio::spawn(async move { producer.send(Record::to("late").value("x")).await });
    asked.exhausted().await;
    cluster.create_topic("late", 1).expect("made");
    assert_eq!(in_time(async { sending.await.expect("no panic") }).await.offset, Some(0));
}

#[tokio::test]
async fn an_unknown_topic_is_an_error_within_its_bound() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().max_block(Duration::from_millis(300)).build()).await;
    let error = producer.enqueue(Record::to("nowhere").value("x")).await.expect_err("there is no such topic");
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[tokio::test]
async fn n8_when_every_known_broker_is_gone_the_configured_addresses_are_asked() {
    let (first, second) = (cluster(1).await, cluster(1).await);
    // Only the first can be reached at the start, so that its broker is the only one known.
    second.kill(0).await;
    let both = format!("{},{}", first.bootstrap(), second.bootstrap());
    let impatient = [("request.timeout.ms", "1000"), ("retry.backoff.ms", "10"), ("reconnect.backoff.ms", "10")];
    let builder = impatient.iter().fold(Kafka::builder(), |builder, (name, value)| builder.property(name, value));
    let kafka = builder.bootstrap(&both).connect().await.expect("the first is there");
    let producer = in_time(kafka.producer().build()).await;
    in_time(producer.send(Record::to(TOPIC).value("to the first"))).await;
    first.kill(0).await;
    second.restart(0).await.expect("it comes back");
    let ack = in_time(producer.send(Record::to(TOPIC).value("to the second"))).await;
    assert_eq!(ack.offset, Some(0), "the second cluster's log was empty");
}

#[tokio::test]
async fn a_name_that_no_topic_can_have_is_refused_at_once() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().max_block(PATIENCE * 2).build()).await;
    let outcome = tokio::time::timeout(PATIENCE, producer.enqueue(Record::to("no such name!").value("x"))).await;
    let error = outcome.expect("not after max.block.ms").expect_err("refused");
    assert!(error.to_string().contains("INVALID_TOPIC"), "{error}");
}

#[tokio::test]
async fn no_broker_at_any_address_is_an_error_that_names_them_all() {
    let error = Kafka::connect("127.0.0.1:1,127.0.0.1:2").await.expect_err("nobody listens there");
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains("127.0.0.1:1") && error.to_string().contains("127.0.0.1:2"), "{error}");
}

#[tokio::test]
async fn a_broker_that_accepts_and_stays_silent_is_an_error_within_its_bound() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its number").to_string();
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            kept.push(accepted);
        }
    });
    let builder = Kafka::builder().bootstrap(&address).property("socket.connection.setup.timeout.ms", "500");
    let outcome = tokio::time::timeout(Duration::from_secs(10), builder.connect()).await.expect("within the bound");
    let error = outcome.expect_err("it says nothing");
    assert!(error.to_string().contains(&address), "{error}");
    silent.abort();
}

/// A batch is sealed only when it can go out: with nobody to send it to, its time has to run out all the same.
#[tokio::test]
async fn p12_a_record_that_can_never_go_out_fails_within_its_bound() {
    for hindrance in ["no broker", "no producer id", "no leader"] {
        let cluster = EmbeddedCluster::builder().brokers(2).topic(TOPIC, 1).start().await.expect("starts");
        let kafka = client(&cluster).await;
        cluster.move_leader(TOPIC, 0, 1).expect("there is such a broker");
        let producer = in_time(kafka.producer().delivery_timeout(Duration::from_millis(700)).build()).await;
        match hindrance {
            "no producer id" => {
                cluster.inject(Fault::on(Api::InitProducerId, FaultAction::Error(15)).times(100_000));
            }
            _ => {
                if hindrance == "no leader" {
                    in_time(producer.send(Record::to(TOPIC).value("known"))).await;
                }
                in_time(async { kafka.admin().topic(TOPIC).await }).await;
                cluster.kill(1).await;
            }
        }
        let sending = producer.send(Record::to(TOPIC).value("x"));
        let outcome = tokio::time::timeout(Duration::from_secs(10), sending).await.expect(hindrance);
        assert_eq!(outcome.expect_err(hindrance).kind(), ErrorKind::Timeout, "{hindrance}");
        assert_eq!(producer.available_memory(), 32 << 20, "{hindrance}: the memory is free again");
        in_time(producer.close()).await;
    }
}

/// The partition stood in the list of its old leader, which accepts connections and says nothing.
#[tokio::test]
async fn a_partition_that_moved_does_not_wait_for_its_silent_old_leader() {
    let cluster = EmbeddedCluster::builder().brokers(2).topic(TOPIC, 2).start().await.expect("starts");
    let builder = Kafka::builder().bootstrap(&cluster.bootstrap()).property("request.timeout.ms", "30000");
    let kafka = builder.property("metadata.max.age.ms", "1000").connect().await.expect("it is reachable");
    for partition in [0, 1] {
        cluster.move_leader(TOPIC, partition, 1).expect("there is such a broker");
    }
    in_time(async {
        let producer = kafka.producer().linger(Duration::ZERO).max_in_flight(1).build().await?;
        producer.send(Record::to(TOPIC).partition(0).value("a")).await?;
        producer.send(Record::to(TOPIC).partition(1).value("b")).await?;
        let silent = cluster.inject(Fault::on(Api::Produce, FaultAction::Silence(When::BeforeApplying)).broker(1));
        let stuck = producer.enqueue(Record::to(TOPIC).partition(0).value("c")).await?;
        silent.exhausted().await;
        let waiting = producer.enqueue(Record::to(TOPIC).partition(1).value("d")).await?;
        tokio::task::yield_now().await;
        cluster.move_leader(TOPIC, 1, 0)?;
        let moved = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        moved.expect("long before the old leader's request is overdue")?;
        drop(stuck);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn p18_a_throttle_longer_than_the_request_timeout_is_kept() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let time = Duration::from_millis(1_500);
    cluster.inject(Fault::on(Api::Produce, FaultAction::Throttle(time)));
    in_time(async {
        let producer = kafka.producer().linger(Duration::ZERO).build().await?;
        producer.send(Record::to(TOPIC).value("a")).await?;
        let throttled = tokio::time::Instant::now();
        producer.send(Record::to(TOPIC).value("b")).await?;
        assert!(throttled.elapsed() >= time - Duration::from_millis(100), "after {:?}", throttled.elapsed());
        let metrics = producer.metrics();
        assert_eq!((metrics.batches_sent, metrics.batches_acked), (2, 2), "nothing had to be sent again");
        producer.close().await
    })
    .await;
}

#[tokio::test]
async fn n10_a_silent_produce_connection_holds_up_nothing_else() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().linger(Duration::ZERO).build()).await;
    let silent = cluster.inject(Fault::on(Api::Produce, FaultAction::Silence(When::BeforeApplying)));
    let delivery = in_time(producer.enqueue(Record::to(TOPIC).value("x"))).await;
    silent.exhausted().await;
    let asked = tokio::time::Instant::now();
    assert_eq!(log_length(&kafka).await, 0);
    assert!(asked.elapsed() < Duration::from_millis(900), "it waited for the produce request's timeout");
    in_time(delivery).await;
}

/// Both calls share a connection; the first one's patience ends while the second one is under way.
#[tokio::test]
async fn n4_a_callers_own_deadline_ends_no_connection_that_others_share() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let admin = kafka.admin();
    in_time(async { admin.topic(TOPIC).await }).await;
    let hasty = admin.clone().timeout(Duration::from_millis(50));
    cluster.inject(Fault::on(Api::CreateTopics, FaultAction::Delay(Duration::from_millis(300))));
    let making = tokio::spawn(async move { admin.create_topic(NewTopic::new("new", 1, 1)).await });
    tokio::task::yield_now().await;
    let error = hasty.offsets(TOPIC, OffsetSpec::Latest).await.expect_err("the broker is busy");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    in_time(async { making.await.expect("no panic") }).await;
}

#[tokio::test]
async fn n9_what_may_have_been_done_is_repeated_only_where_that_is_harmless() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let admin = kafka.admin();
    for (name, when) in [("before", When::BeforeApplying), ("after", When::AfterApplying)] {
        cluster.inject(Fault::on(Api::ListOffsets, FaultAction::Disconnect(when)));
        assert_eq!(log_length(&kafka).await, 0, "reading is repeated");
        cluster.inject(Fault::on(Api::CreateTopics, FaultAction::Disconnect(when)));
        let error = admin.create_topic(NewTopic::new(name, 1, 1)).await.expect_err("nobody knows");
        assert!(error.maybe_written() && error.kind() == ErrorKind::Disconnected, "{error}");
        cluster.clear_faults();
    }
}

#[tokio::test]
async fn n9_a_connection_that_was_closed_while_idle_is_opened_again() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    in_time(async { kafka.admin().topic(TOPIC).await }).await;
    cluster.kill(0).await;
    cluster.restart(0).await.expect("restarts");
    in_time(kafka.admin().create_topic(NewTopic::new("new", 1, 1))).await;
}

#[tokio::test]
async fn times_without_end_and_waits_of_nothing_are_taken_as_they_are_meant() {
    let cluster = cluster(1).await;
    let builder = Kafka::builder().bootstrap(&cluster.bootstrap()).property("retry.backoff.ms", "0");
    let kafka = in_time(builder.property("reconnect.backoff.ms", "0").connect()).await;
    let forever = Duration::MAX;
    let builder = kafka.producer().linger(forever).delivery_timeout(forever).max_block(forever);
    let producer = in_time(builder.build()).await;
    drop(in_time(producer.enqueue(Record::to(TOPIC).value("x"))).await);
    in_time(producer.close()).await;
    in_time(async { kafka.admin().timeout(forever).topic(TOPIC).await }).await;
    assert_eq!(log_length(&kafka).await, 1);
}

#[tokio::test]
async fn a_topic_is_deleted_by_whoever_is_the_controller_by_then() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    cluster.inject(Fault::on(Api::DeleteTopics, FaultAction::Error(41)).times(2)); // NOT_CONTROLLER
    in_time(kafka.admin().delete_topic(TOPIC)).await;
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

#[tokio::test]
async fn p12_a_fenced_producer_fails_everything_at_once_and_holds_nothing() {
    let cluster = cluster(6).await;
    cluster.create_topic("cold", 1).expect("made");
    let kafka = client(&cluster).await;
    let builder = kafka.producer().compression(Compression::Zstd).linger(Duration::ZERO).batch_size(20_000);
    let producer = in_time(builder.build()).await;
    in_time(producer.send(Record::to(TOPIC).value("known"))).await;
    cluster.inject(Fault::on(Api::Produce, FaultAction::Error(90)).times(1_000)); // PRODUCER_FENCED
    let mut deliveries = Vec::new();
    for number in 0..2_000 {
        let topic = if number % 50 == 49 { "cold" } else { TOPIC };
        match producer.enqueue(Record::to(topic).key(format!("{number}")).value(vec![b'x'; 500])).await {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
                break;
            }
        }
    }
    for delivery in deliveries {
        let outcome = tokio::time::timeout(Duration::from_secs(10), delivery).await.expect("at once");
        assert_eq!(outcome.expect_err("fenced").kind(), ErrorKind::Fenced);
    }
    assert_eq!(producer.flush().await.expect_err("it can write no more").kind(), ErrorKind::Fenced);
    assert_eq!(producer.available_memory(), 32 << 20);
}

/// Whatever is asked of a producer that may not write any more, it says why.
#[tokio::test]
async fn p12_after_a_fatal_error_every_call_says_which() {
    let refused = ErrorKind::Broker(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    for (api, code, kind) in
        [(Api::Produce, 90, ErrorKind::Fenced), (Api::Produce, 31, refused), (Api::InitProducerId, 31, refused)]
    {
        let cluster = cluster(1).await;
        let kafka = client(&cluster).await;
        cluster.inject(Fault::on(api, FaultAction::Error(code)));
        let producer = in_time(kafka.producer().build()).await;
        let other = producer.clone();
        let errors = [
            producer.send(Record::to(TOPIC).value("a")).await.expect_err("the fault"),
            other.send(Record::to(TOPIC).value("b")).await.expect_err("send"),
            other.enqueue(Record::to(TOPIC).value("c")).await.expect_err("enqueue"),
            other.flush().await.expect_err("flush"),
            other.close().await.expect_err("close"),
        ];
        for error in errors {
            assert_eq!(error.kind(), kind, "{api:?} {code}: {error}");
        }
    }
}

#[tokio::test]
async fn a_topic_that_is_made_again_is_written_on() {
    let cluster = cluster(4).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().linger(Duration::ZERO).batch_size(200).build()).await;
    for partitions in [4, 6, 8] {
        in_time(async {
            kafka.admin().delete_topic(TOPIC).await?;
            kafka.admin().create_topic(NewTopic::new(TOPIC, partitions, 1)).await?;
            for number in 0..100 {
                drop(producer.enqueue(Record::to(TOPIC).value(format!("{number:020}"))).await?);
            }
            producer.flush().await
        })
        .await;
        assert_eq!(log_length(&kafka).await, 100, "{partitions} partitions");
    }
    in_time(producer.close()).await;
}

#[tokio::test]
async fn a_record_for_a_partition_that_is_gone_fails_within_its_bound() {
    let cluster = cluster(4).await;
    let kafka = client(&cluster).await;
    let builder = kafka.producer().linger(Duration::ZERO).delivery_timeout(Duration::from_millis(700));
    let producer = in_time(builder.build()).await;
    in_time(producer.send(Record::to(TOPIC).partition(3).value("a"))).await;
    in_time(kafka.admin().delete_topic(TOPIC)).await;
    in_time(kafka.admin().create_topic(NewTopic::new(TOPIC, 2, 1))).await;
    let sending = producer.send(Record::to(TOPIC).partition(3).value("b"));
    let outcome = tokio::time::timeout(Duration::from_secs(10), sending).await.expect("within its bound");
    let kind = outcome.expect_err("there is no such partition any more").kind();
    assert!(matches!(kind, ErrorKind::Timeout | ErrorKind::UnknownTopic), "{kind:?}");
    in_time(producer.send(Record::to(TOPIC).partition(1).value("c"))).await;
    assert_eq!(producer.available_memory(), 32 << 20);
}

#[tokio::test]
async fn p18_a_throttled_record_has_its_deadline_and_is_known_not_to_be_written() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let builder = kafka.producer().linger(Duration::ZERO).delivery_timeout(Duration::from_millis(700));
    let producer = in_time(builder.build()).await;
    cluster.inject(Fault::on(Api::Produce, FaultAction::Throttle(PATIENCE)));
    in_time(producer.send(Record::to(TOPIC).value("a"))).await;
    let sending = producer.send(Record::to(TOPIC).value("b"));
    let outcome = tokio::time::timeout(Duration::from_secs(10), sending).await.expect("within its bound");
    let error = outcome.expect_err("the broker wants silence");
    assert!(error.kind() == ErrorKind::Timeout && !error.maybe_written(), "{error}");
}
