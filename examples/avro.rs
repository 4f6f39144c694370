//! Writes a Rust type as Avro with its schema in a Schema Registry, and reads it back.
//!
//! ```text
//! milena broker &
//! cargo run --example avro -- 127.0.0.1:9092 http://127.0.0.1:8081
//! ```

use milena::{
    ErrorCode, Kafka, Record, TopicPartition,
    admin::NewTopic,
    consumer::StartFrom,
    registry::Registry,
    serdes::{Utf8, avro::AvroRecord},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Measurement {
    sensor: String,
    celsius: f64,
}

impl AvroRecord for Measurement {
    const SCHEMA: &'static str = r#"{"type": "record", "name": "Measurement", "fields": [
        {"name": "sensor", "type": "string"},
        {"name": "celsius", "type": "double"}]}"#;
}

#[tokio::main]
async fn main() -> milena::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let url = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8081".to_owned());

    let kafka = Kafka::connect(&bootstrap).await?;
    make_topic(&kafka, "measurements").await?;
    let avro = Registry::new(url)?.avro::<Measurement>();

    // The schema is registered as `measurements-value` before the first record; its id stands in front of each.
    let producer = kafka.producer().key(Utf8).value(avro.clone()).build().await?;
    let measurement = Measurement { sensor: "cryostat".to_owned(), celsius: -273.14 };
    let ack = producer.send(Record::to("measurements").key("cryostat").value(measurement)).await?;
    producer.close().await?;

    let start = StartFrom::Offset(ack.offset.unwrap_or_default());
    let partition = TopicPartition::new("measurements", ack.partition);
    let mut consumer = kafka.consumer().key(Utf8).value(avro).assign([(partition, start)]).await?;
    if let Some(batch) = consumer.poll().await? {
        for record in &batch {
            println!("{:?}: {:?}", record.key()?, record.value()?);
        }
    }
    Ok(())
}

/// Topics are not made by using them.
async fn make_topic(kafka: &Kafka, name: &str) -> milena::Result<()> {
    match kafka.admin().create_topic(NewTopic::new(name, -1, -1)).await {
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
        made => made,
    }
}
