//! A small service and its tests on the embedded cluster: what `docs/testing.md` tells, as one file.
//!
//! ```text
//! cargo test --example testing --features embedded     the tests
//! cargo run --example testing -- 127.0.0.1:9092        the service
//! ```

use milena::{Kafka, Record, Result, TopicPartition, consumer::StartFrom};

#[tokio::main]
async fn main() -> Result<()> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    price_orders(&Kafka::connect(&bootstrap).await?, usize::MAX).await
}

/// The service under test: reads so many orders from their beginning and writes an invoice for each, with its key.
async fn price_orders(kafka: &Kafka, count: usize) -> Result<()> {
    let partitions = 0..kafka.admin().topic("orders").await?.leaders.len() as i32;
    let all = partitions.map(|partition| (TopicPartition::new("orders", partition), StartFrom::Beginning));
    let mut orders = kafka.consumer().assign(all).await?;
    let invoices = kafka.producer().build().await?;
    let mut priced = 0;
    while priced < count {
        let Some(batch) = orders.poll().await? else { break };
        let mut deliveries = Vec::new();
        for order in &batch {
            let invoice = Record::to("invoices").key_or_null(order.key()).value(priced_at_list(order.value()));
            deliveries.push(invoices.enqueue(invoice).await?);
        }
        for delivery in deliveries {
            delivery.await?;
        }
        priced += batch.len();
    }
    invoices.close().await
}

/// "3 apples" costs 30.
fn priced_at_list(order: Option<&[u8]>) -> String {
    let order = String::from_utf8_lossy(order.unwrap_or_default()).into_owned();
    let pieces = order.split(' ').next().and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
    format!("{order}: {}", pieces * 10)
}

#[cfg(all(test, feature = "embedded"))]
mod tests {

    use milena::{
        ErrorCode,
        embedded::{Api, EmbeddedCluster, Fault, FaultAction, When},
    };

    use super::*;

    /// A cluster of its own for every test: tests run side by side, and none sees what another left.
    async fn cluster_with_orders(brokers: i32, orders: u32) -> Result<(EmbeddedCluster, Kafka)> {
        let builder = EmbeddedCluster::builder().brokers(brokers).topic("orders", 3).topic("invoices", 3);
        let cluster = builder.start().await?;
        let kafka = Kafka::connect(&cluster.bootstrap()).await?;
        let producer = kafka.producer().build().await?;
        for number in 0..orders {
            let order = Record::to("orders").key(format!("customer {}", number % 7)).value(format!("{number} apples"));
            producer.enqueue(order).await?.detach();
        }
        producer.close().await?;
        Ok((cluster, kafka))
    }

    /// All invoices, sorted.
    async fn invoices(kafka: &Kafka) -> Result<Vec<String>> {
        let all = (0..3).map(|partition| (TopicPartition::new("invoices", partition), StartFrom::Beginning));
        let mut consumer = kafka.consumer().assign(all).await?;
        let ends = consumer.ends().await?;
        let mut found = Vec::new();
        while let Some(batch) = consumer.poll_to(&ends).await? {
            found.extend(batch.iter().map(|it| String::from_utf8_lossy(it.value().unwrap_or_default()).into_owned()));
        }
        found.sort();
        Ok(found)
    }

    fn expected(orders: u32) -> Vec<String> {
        let mut all: Vec<_> = (0..orders).map(|number| format!("{number} apples: {}", number * 10)).collect();
        all.sort();
        all
    }

    #[tokio::test]
    async fn every_order_gets_its_invoice() -> Result<()> {
        let (_cluster, kafka) = cluster_with_orders(1, 100).await?;
        price_orders(&kafka, 100).await?;
        assert_eq!(invoices(&kafka).await?, expected(100));
        Ok(())
    }

    #[tokio::test]
    async fn a_lost_acknowledgement_makes_no_second_invoice() -> Result<()> {
        let (cluster, kafka) = cluster_with_orders(1, 100).await?;
        // The broker appends, but the connection breaks before it says so: the producer has to send the batch again.
        let lost = FaultAction::Disconnect(When::AfterApplying);
        let fault = cluster.inject(Fault::on(Api::Produce, lost).topic("invoices"));
        price_orders(&kafka, 100).await?;
        assert_eq!(fault.left(), 0, "it happened");
        assert_eq!(invoices(&kafka).await?, expected(100));
        Ok(())
    }

    #[tokio::test]
    async fn a_leader_that_moves_and_a_broker_that_dies_are_outlived() -> Result<()> {
        let (cluster, kafka) = cluster_with_orders(3, 1000).await?;
        // The connection breaks under the first invoices, and before they are sent again nothing is where it was.
        let first =
            cluster.inject(Fault::on(Api::Produce, FaultAction::Disconnect(When::BeforeApplying)).topic("invoices"));
        let service = tokio::spawn({
            let kafka = kafka.clone();
            async move { price_orders(&kafka, 1000).await }
        });
        first.exhausted().await;
        cluster.move_leader("invoices", 0, 2)?;
        cluster.kill(1).await;
        cluster.restart(1).await?;
        service.await.expect("no panic")?;
        assert_eq!(invoices(&kafka).await?, expected(1000));
        Ok(())
    }

    #[tokio::test]
    async fn a_refusal_is_reported() -> Result<()> {
        let (cluster, kafka) = cluster_with_orders(1, 1).await?;
        let refusal = Fault::error(Api::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        cluster.inject(refusal.topic("invoices").times(usize::MAX));
        let error = price_orders(&kafka, 1).await.expect_err("it may not write");
        assert_eq!(error.code(), Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
        Ok(())
    }
}
