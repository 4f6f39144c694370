//! What to do when records come faster than brokers take them: drop some, or slow down.
//!
//! ```text
//! milena broker &
//! cargo run --example backpressure -- 127.0.0.1:9092 clicks
//! ```

use std::time::Duration;

use milena::{
    ErrorCode, Kafka, Record, Result,
    admin::NewTopic,
    producer::{NotEnqueued, Producer},
};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "clicks".to_owned());

    let kafka = Kafka::connect(&bootstrap).await?;
    match kafka.admin().create_topic(NewTopic::new(&topic, -1, -1)).await {
        Err(error) if error.code() != Some(ErrorCode::TOPIC_ALREADY_EXISTS) => return Err(error),
        _ => {}
    }
    // A small buffer, so that it fills. What is in it when a broker dies is in doubt, so smaller is safer, too.
    let producer = kafka.producer().buffer_memory(256 << 10).max_block(Duration::from_secs(30)).build().await?;
    // Otherwise the first attempts come back as `NotReady`, while the topic is asked for.
    producer.prepare(&Record::to(&topic)).await?;

    let dropped = count_clicks(&producer, &topic).await?;
    println!("{dropped} of 100000 clicks were dropped rather than waited for");
    write_orders(&producer, &topic).await?;

    let metrics = producer.metrics();
    println!("callers waited {:?} for memory; latency {:?}", metrics.memory_wait, metrics.latency);
    // Whoever ends this program may not have for ever.
    producer.close_with(Duration::from_secs(10)).await
}

/// Where a lost record does no harm and a slow caller does: try, and let go.
async fn count_clicks(producer: &Producer, topic: &str) -> Result<u32> {
    let mut dropped = 0;
    for number in 0..100_000 {
        match producer.try_enqueue(Record::to(topic).value(format!("click {number}"))) {
            Ok(delivery) => delivery.detach(),
            Err(back) if matches!(back.reason, NotEnqueued::Full) => {
                dropped += 1;
                // The producer's task needs its turn, too.
                tokio::task::yield_now().await;
            }
            Err(back) => return Err(back.into()),
        }
    }
    Ok(dropped)
}

/// Where every record counts: `enqueue` waits until there is room, and its caller is as slow as the brokers are.
async fn write_orders(producer: &Producer, topic: &str) -> Result<()> {
    for number in 0..100_000 {
        producer.enqueue(Record::to(topic).key("42").value(format!("order {number}"))).await?.detach();
    }
    // Tells the first failure, also of those whose delivery nobody kept.
    producer.flush().await
}
