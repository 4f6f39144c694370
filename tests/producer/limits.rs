//! What is too large, and what does not fit: records, batches, the buffer.

use super::*;

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
