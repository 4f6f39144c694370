//! How a producer ends: closed, dropped, fenced; and what it then says.

use super::*;

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
