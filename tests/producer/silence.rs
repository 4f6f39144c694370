//! Brokers that are silent, gone, or ask for silence: every wait has its bound, and nobody else waits along.

use super::*;

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
