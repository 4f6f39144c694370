//! Records of two topics and the offsets they were made from become visible together, or not at all.
//!
//! ```text
//! milena broker &
//! cargo run --example transactions -- 127.0.0.1:9092
//! ```

use milena::{
    ConsumerGroupMetadata, ErrorCode, Kafka, Record, TopicPartition,
    admin::NewTopic,
    producer::{CommitError, FencedBy, TransactionError, TransactionalProducer},
};

#[tokio::main]
async fn main() -> milena::Result<()> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let kafka = Kafka::connect(&bootstrap).await?;
    for topic in ["orders", "invoices", "shipments"] {
        make_topic(&kafka, topic).await?;
    }
    let mut producer = open(&kafka).await?;

    for order in 0..10 {
        // A producer that the coordinator has given up on (its transaction took too long) makes room for a new one. Asked
        // before `begin`, whose transaction borrows the producer: as long as the compiler thinks that there may be one,
        // `producer` cannot be replaced.
        match producer.ready().await {
            Err(error) if error.is_fatal() && !is_taken_over(&error) => producer = open(&kafka).await?,
            ready => ready?,
        }
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
                while producer.outcome().await.is_err_and(|error| !error.is_fatal()) {}
            }
            // The producer is dead: the next `ready` says so, and by whom.
            Err(CommitError::Fatal(why)) => println!("order {order}: {why}"),
        }
    }
    producer.close().await
}

/// The same id after a restart: what this program had left open then is ended, and an older one that still runs is fenced.
async fn open(kafka: &Kafka) -> milena::Result<TransactionalProducer> {
    kafka.producer().transactional("pricing-1").await
}

/// Another program has the id now: two that fenced each other in turns would get nowhere.
fn is_taken_over(error: &TransactionError) -> bool {
    matches!(error, TransactionError::Fatal(why) if matches!(why.fenced_by(), Some(FencedBy::NewerProducer { .. })))
}

/// Topics are not made by using them.
async fn make_topic(kafka: &Kafka, name: &str) -> milena::Result<()> {
    match kafka.admin().create_topic(NewTopic::new(name, -1, -1)).await {
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
        made => made,
    }
}
