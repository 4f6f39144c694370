//! A partitioner of one's own: large customers have a partition each, everybody else shares the rest.
//!
//! ```text
//! milena broker &
//! cargo run --example custom_partitioner -- 127.0.0.1:9092 payments
//! ```

use std::collections::BTreeMap;

use milena::{
    ErrorCode, Kafka, Record,
    admin::NewTopic,
    producer::{Choice, Partitioner, Partitions},
};

/// Partitions from 0 on belong to these customers; the key of a record is its customer.
struct LargeCustomers(Vec<&'static str>);

impl Partitioner for LargeCustomers {
    // Called for every record by whoever enqueues it, so it neither allocates nor blocks.
    fn partition(&self, partitions: Partitions<'_>, key: Option<&[u8]>, _value: Option<&[u8]>) -> Choice {
        let own = self.0.len() as i32;
        let Some(key) = key else {
            // Nobody's records: wherever the fewest batches wait.
            let shared = partitions.available().filter(|partition| *partition >= own);
            let shortest = shared.min_by_key(|partition| partitions.queued_batches(*partition));
            return shortest.map_or(Choice::Any, Choice::Partition);
        };
        match self.0.iter().position(|customer| customer.as_bytes() == key) {
            Some(place) => Choice::Partition(place as i32),
            // A key's partition must depend on nothing but the key and the number of partitions.
            None => Choice::Partition(own + partitions.of_key(key) % (partitions.len() - own).max(1)),
        }
    }
}

#[tokio::main]
async fn main() -> milena::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "payments".to_owned());

    let kafka = Kafka::connect(&bootstrap).await?;
    make_topic(&kafka, &topic, 6).await?;
    let producer = kafka.producer().partitioner(LargeCustomers(vec!["acme", "globex"])).build().await?;

    let mut places: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for customer in ["acme", "globex", "small-1", "small-2", "small-3", "acme", "small-1"] {
        let ack = producer.send(Record::to(&topic).key(customer).value("100 €")).await?;
        places.entry(customer.to_owned()).or_default().push(ack.partition);
    }
    let ack = producer.send(Record::to(&topic).value("a donation")).await?;
    places.entry("nobody".to_owned()).or_default().push(ack.partition);
    for (customer, partitions) in places {
        println!("{customer}: {partitions:?}");
    }
    producer.close().await
}

async fn make_topic(kafka: &Kafka, name: &str, partitions: i32) -> milena::Result<()> {
    match kafka.admin().create_topic(NewTopic::new(name, partitions, -1)).await {
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
        made => made,
    }
}
