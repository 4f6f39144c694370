//! Topics that are made late, again, deleted, or do not exist.

use super::*;

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
async fn a_name_that_no_topic_can_have_is_refused_at_once() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    let producer = in_time(kafka.producer().max_block(PATIENCE * 2).build()).await;
    let outcome = tokio::time::timeout(PATIENCE, producer.enqueue(Record::to("no such name!").value("x"))).await;
    let error = outcome.expect("not after max.block.ms").expect_err("refused");
    assert!(error.to_string().contains("INVALID_TOPIC"), "{error}");
}

#[tokio::test]
async fn a_topic_is_deleted_by_whoever_is_the_controller_by_then() {
    let cluster = cluster(1).await;
    let kafka = client(&cluster).await;
    cluster.inject(Fault::on(Api::DeleteTopics, FaultAction::Error(41)).times(2)); // NOT_CONTROLLER
    in_time(kafka.admin().delete_topic(TOPIC)).await;
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
