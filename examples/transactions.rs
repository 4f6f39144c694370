//! Records of two topics and the offsets they were made from become visible together, or not at all.
//!
//! ```text
//! milena broker &
//! cargo run --example transactions -- 127.0.0.1:9092
//! ```

use milena::{
    ConsumerGroupMetadata, ErrorCode, Kafka, Record, TopicPartition,
    admin::NewTopic,
    producer::{CommitError, TransactionError},
};

#[tokio::main]
async fn main() -> milena::Result<()> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let kafka = Kafka::connect(&bootstrap).await?;
    for topic in ["orders", "invoices", "shipments"] {
        make_topic(&kafka, topic).await?;
    }
    // The same id after a restart: what this program had left open then is ended, and an older one that still runs is
    // fenced.
    let mut producer = kafka.producer().transactional("pricing-1").await?;

    for order in 0..10 {
        let transaction = producer.begin().await?;
        let value = format!("for order {order}");
        // Deliveries need not be awaited: the commit does that.
        transaction.enqueue(Record::to("invoices").value(&value)).await?.detach();
        transaction.enqueue(Record::to("shipments").value(&value)).await?.detach();
        // With a group's consumer, `member` names it, and a zombie is refused.
        let billing = ConsumerGroupMetadata::new("billing");
        transaction.send_offsets(&billing, [(TopicPartition::new("orders", 0), order + 1)]).await?;
        if order % 3 == 2 {
            transaction.abort().await?;
            println!("order {order}: nothing of it is visible");
            continue;
        }
        match transaction.commit().await {
            Ok(()) => println!("order {order}: visible"),
            // Nothing was written; the order can be tried again.
            Err(CommitError::Aborted(why)) => println!("order {order}: {why}"),
            // Nobody answered: ask until somebody does.
            Err(CommitError::Unknown(why)) => {
                println!("order {order}: {why}");
                while let Err(error) = producer.outcome().await {
                    if let TransactionError::Fatal(why) = error {
                        return Err(why.into());
                    }
                }
            }
            // Another program has taken over, and this one has to stop.
            Err(CommitError::Fatal(why)) => return Err(why.into()),
        }
    }
    producer.close().await
}

/// Topics are not made by using them.
async fn make_topic(kafka: &Kafka, name: &str) -> milena::Result<()> {
    match kafka.admin().create_topic(NewTopic::new(name, -1, -1)).await {
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
        made => made,
    }
}
