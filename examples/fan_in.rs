//! Many tasks, one producer: clones share its buffer, its connections and its batches.
//!
//! ```text
//! milena broker &
//! cargo run --example fan_in -- 127.0.0.1:9092 readings
//! ```

use std::time::{Duration, Instant};

use milena::{ErrorCode, Kafka, Record, Result, admin::NewTopic, producer::Producer};
use tokio::task::JoinSet;

const TASKS: u32 = 1000;
const READINGS: u32 = 100;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "readings".to_owned());

    let kafka = Kafka::connect(&bootstrap).await?;
    match kafka.admin().create_topic(NewTopic::new(&topic, -1, -1)).await {
        Err(error) if error.code() != Some(ErrorCode::TOPIC_ALREADY_EXISTS) => return Err(error),
        _ => {}
    }
    // Without a linger a request leaves as soon as the one before is answered; what comes meanwhile shares the next one.
    let producer = kafka.producer().linger(Duration::ZERO).build().await?;

    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for sensor in 0..TASKS {
        tasks.spawn(read(producer.clone(), topic.clone(), sensor));
    }
    for outcome in tasks.join_all().await {
        outcome?;
    }
    let (metrics, time) = (producer.metrics(), begun.elapsed());
    println!("{} records of {TASKS} tasks, each awaited, in {time:?}", metrics.records_acked);
    println!("in {} batches and {} requests; latency {:?}", metrics.batches_acked, metrics.requests, metrics.latency);
    producer.close().await
}

/// One sensor: its readings have its key, so they stand in one partition, in order.
async fn read(producer: Producer, topic: String, sensor: u32) -> Result<()> {
    let key = format!("sensor {sensor}");
    for number in 0..READINGS {
        // Waits for the broker each time. A task that need not know would enqueue, and flush at its end.
        producer.send(Record::to(&topic).key(&key).value(format!("{number}"))).await?;
    }
    Ok(())
}
