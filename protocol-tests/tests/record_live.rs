//! Batches under the rules of a real broker: what its `compression.type` and `message.timestamp.type` make of them.

use milena::{
    Kafka, Record, Result, TopicPartition, admin::NewTopic, consumer::StartFrom, producer::Delivery,
    record::Compression,
};
use protocol_tests::{run_live, unique};

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// A value that no codec makes smaller, and one that each does.
fn values() -> [Vec<u8>; 2] {
    let mut random = fastrand::Rng::with_seed(11);
    [(0..2000).map(|_| random.u8(..)).collect(), b"again and ".repeat(200)]
}

/// Writes each value in a batch of its own, and reads them back.
async fn round_trip(kafka: &Kafka, topic: &str, codec: Compression) -> Result<Vec<(i64, Vec<u8>)>> {
    let producer = kafka.producer().compression(codec).build().await?;
    for value in values() {
        let sent: Delivery = producer.enqueue(Record::to(topic).value(&value)).await?;
        producer.flush().await?;
        sent.await?;
    }
    producer.close().await?;
    let start = [(TopicPartition::new(topic, 0), StartFrom::Beginning)];
    let mut consumer = kafka.consumer().assign(start).await?;
    let mut read = Vec::new();
    while read.len() < values().len() {
        let batch = consumer.poll().await?.expect("a batch");
        read.extend(batch.iter().map(|record| (record.timestamp(), record.value().unwrap_or_default().to_vec())));
    }
    consumer.close().await?;
    Ok(read)
}

#[test]
fn a_batch_left_uncompressed_is_taken_whatever_the_topic_compresses_with() {
    run_live("a_batch_left_uncompressed_is_taken_whatever_the_topic_compresses_with", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        for kind in ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] {
            for codec in CODECS {
                let topic = unique("rule");
                let config = NewTopic::new(&topic, 1, 1).config("compression.type", kind);
                kafka.admin().create_topic(config).await?;
                let read = round_trip(&kafka, &topic, codec).await?;
                let found: Vec<_> = read.into_iter().map(|(_, value)| value).collect();
                assert_eq!(found, values(), "{codec} into a topic of {kind}");
                kafka.admin().delete_topic(&topic).await?;
            }
        }
        Ok(())
    });
}

#[test]
fn c13_the_broker_sets_the_time_where_the_topic_says_so() {
    run_live("c13_the_broker_sets_the_time_where_the_topic_says_so", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("append-time");
        let config = NewTopic::new(&topic, 1, 1).config("message.timestamp.type", "LogAppendTime");
        kafka.admin().create_topic(config).await?;
        let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later").as_millis();
        let producer = kafka.producer().compression(Compression::Lz4).build().await?;
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        producer.send(Record::to(&topic).value("x").timestamp(old)).await?;
        let start = [(TopicPartition::new(&topic, 0), StartFrom::Beginning)];
        let mut consumer = kafka.consumer().assign(start).await?;
        let batch = consumer.poll().await?.expect("a batch");
        let time = batch.iter().next().expect("a record").timestamp();
        // The broker is on this machine, but clocks may be set.
        assert!(time > before as i64 - 60_000, "{time} is the producer's time");
        kafka.admin().delete_topic(&topic).await?;
        Ok(())
    });
}
