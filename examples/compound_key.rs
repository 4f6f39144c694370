//! A key of two parts, of which the first decides the partition: all orders of a customer stay in order, and each order
//! is a key of its own where the topic is compacted.
//!
//! ```text
//! milena broker &
//! cargo run --example compound_key -- 127.0.0.1:9092 orders-by-customer
//! ```

use milena::{
    ErrorCode, Kafka, Record,
    admin::NewTopic,
    producer::Partitioning,
    serdes::{Serializer, Target},
};

/// What identifies an order.
#[derive(Clone, Copy)]
struct OrderKey {
    customer: u32,
    order: u64,
}

/// Twelve bytes: the customer, then the order, both big-endian.
struct OrderKeySerializer;

impl Serializer<OrderKey> for OrderKeySerializer {
    fn serialize(&self, _target: Target<'_>, key: &OrderKey, out: &mut Vec<u8>) -> milena::Result<()> {
        out.extend_from_slice(&key.customer.to_be_bytes());
        out.extend_from_slice(&key.order.to_be_bytes());
        Ok(())
    }
}

/// The part of a key that decides: the customer's four bytes.
const CUSTOMER: usize = size_of::<u32>();

#[tokio::main]
async fn main() -> milena::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "orders-by-customer".to_owned());

    let kafka = Kafka::connect(&bootstrap).await?;
    match kafka.admin().create_topic(NewTopic::new(&topic, 12, -1)).await {
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
        made => made?,
    }
    // The customer's bytes are hashed as Java would hash them if they were the whole key. A key that is too short has no
    // customer, and goes anywhere.
    let by_customer = Partitioning::keyed_by(|key, _value| key?.get(..CUSTOMER));
    let producer = kafka.producer().key(OrderKeySerializer).partitioner(by_customer).build().await?;

    for order in 1..=12 {
        let key = OrderKey { customer: order as u32 % 3, order };
        let ack = producer.send(Record::to(&topic).key(key).value("created")).await?;
        println!("order {order} of customer {}: partition {}", key.customer, ack.partition);
    }
    // The order is deleted where it was written: a tombstone has the same key.
    let key = OrderKey { customer: 1, order: 1 };
    let ack = producer.send(Record::to(&topic).key(key)).await?;
    println!("order 1 of customer 1 is deleted: partition {}", ack.partition);
    producer.close().await
}
