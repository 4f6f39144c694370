//! Sends records: one and its acknowledgement, then many at once.
//!
//! ```text
//! milena broker &
//! cargo run --example producer -- 127.0.0.1:9092 orders
//! ```

use std::time::Duration;

use milena::{ErrorCode, Kafka, Record, admin::NewTopic};

#[tokio::main]
async fn main() -> milena::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "orders".to_owned());

    let kafka = Kafka::connect(&bootstrap).await?;
    make_topic(&kafka, &topic).await?;
    let producer = kafka.producer().linger(Duration::from_millis(5)).build().await?;

    // `send` waits for the broker: the record is written when it returns.
    let ack = producer.send(Record::to(&topic).key("42").value("created")).await?;
    println!("{}-{} has it at offset {:?}", ack.topic, ack.partition, ack.offset);

    // `enqueue` waits for memory only. The order is fixed when it returns; the delivery tells the rest.
    let mut deliveries = Vec::new();
    for number in 0..1000 {
        let value = format!("order {number}");
        deliveries.push(producer.enqueue(Record::to(&topic).key(format!("{}", number % 10)).value(value)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    println!("and 1000 more");
    producer.close().await
}

/// Topics are not made by using them.
async fn make_topic(kafka: &Kafka, name: &str) -> milena::Result<()> {
    match kafka.admin().create_topic(NewTopic::new(name, -1, -1)).await {
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
        made => made,
    }
}
