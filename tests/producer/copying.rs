//! Consume, process, produce: what is read of one topic is written to another, and how far it was read is committed in the
//! same transaction.

use milena::{
    ConsumerGroupMetadata, TopicPartition,
    consumer::{IsolationLevel, StartFrom},
};

use super::{common::World, *};

/// T9: after an abort the position stands behind what was thrown away, and the reader goes back to what is committed. What
/// was fetched ahead of that is not handed out once more, and nothing is skipped.
#[tokio::test(start_paused = true)]
async fn t9_what_an_aborted_transaction_had_read_is_read_again() {
    const RECORDS: i64 = 20;
    let world = World::new().await;
    let source = world.kafka.producer().build().await.expect("a producer");
    for number in 0..RECORDS {
        // A batch each.
        source.send(Record::to(TOPIC).value(number.to_string())).await.expect("written");
    }
    let (from, group) = (TopicPartition::new(TOPIC, 0), ConsumerGroupMetadata::new("copiers"));
    let committed = || world.cluster.committed_offset("copiers", TOPIC, 0);
    let mut copies = world.kafka.producer().transactional("copier").await.expect("an identity");
    let mut reader = world.kafka.consumer().assign([(from.clone(), StartFrom::Beginning)]).await.expect("assigned");
    let ends = reader.ends().await.expect("ends");
    let mut aborted = 0;
    while let Some(batch) = reader.poll_to(&ends).await.expect("reads") {
        let next = batch.next_offset();
        let transaction = copies.begin().await.expect("begins");
        for record in &batch {
            transaction.enqueue(Record::to("u").value_or_null(record.value())).await.expect("enqueued").detach();
        }
        transaction.send_offsets(&group, [(from.clone(), next)]).await.expect("taken");
        if next % 3 != 0 || aborted == next {
            transaction.commit().await.expect("committed");
            continue;
        }
        transaction.abort().await.expect("aborted");
        aborted = next;
        assert_eq!(reader.position(&from), Some(next), "it stands behind what nobody will see");
        // By then the markers are written.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(committed(), Some(next - 1));
        reader.seek(&from, StartFrom::Offset(next - 1)).expect("it is assigned");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((committed(), aborted), (Some(RECORDS), 18));
    let expected: Vec<String> = (0..RECORDS).map(|number| number.to_string()).collect();
    assert_eq!(visible(&world.kafka, "u").await, expected, "each once, and in order");
}

/// What a reader of committed records sees of a topic's only partition.
async fn visible(kafka: &Kafka, topic: &str) -> Vec<String> {
    let reader = kafka.consumer().isolation(IsolationLevel::ReadCommitted);
    let from = [(TopicPartition::new(topic, 0), StartFrom::Beginning)];
    let mut reader = reader.assign(from).await.expect("assigned");
    let ends = reader.ends().await.expect("ends");
    let mut values = Vec::new();
    while let Some(batch) = reader.poll_to(&ends).await.expect("reads") {
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        values.extend(batch.iter().map(|record| text(record.value())));
    }
    values
}
