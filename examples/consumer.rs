//! Reads every partition of a topic from its beginning, batch by batch, until it is interrupted.
//!
//! ```text
//! cargo run --example consumer -- 127.0.0.1:9092 orders
//! ```

use milena::{Kafka, TopicPartition, consumer::StartFrom};

#[tokio::main]
async fn main() -> milena::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "orders".to_owned());

    let kafka = Kafka::connect(&bootstrap).await?;
    let partitions = 0..kafka.admin().topic(&topic).await?.leaders.len() as i32;
    let everything = partitions.map(|partition| (TopicPartition::new(topic.as_str(), partition), StartFrom::Beginning));
    let mut consumer = kafka.consumer().assign(everything).await?;

    // Records borrow from their batch; nothing is copied until you do.
    while let Some(batch) = consumer.poll().await? {
        for record in &batch {
            let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
            println!("{}@{}: {} = {}", batch.partition(), record.offset(), text(record.key()), text(record.value()));
        }
    }
    Ok(())
}
