//! The client and a cluster of three brokers in one thread, without a socket, on paused time.
#![cfg(feature = "embedded")]

use std::time::Duration;

use milena::{
    Kafka, Record, TopicPartition,
    consumer::StartFrom,
    embedded::{EmbeddedCluster, MemoryNetwork},
};

#[tokio::test(start_paused = true)]
async fn a_record_goes_through_a_cluster_in_memory() {
    let network = MemoryNetwork::new();
    let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 3).memory(&network).start().await.unwrap();
    assert_eq!(cluster.bootstrap(), "broker-0:9092,broker-1:9092,broker-2:9092");
    let kafka = Kafka::builder().bootstrap(&cluster.bootstrap()).memory_network(&network).connect().await.unwrap();
    let producer = kafka.producer().build().await.unwrap();
    for partition in 0..3 {
        let sent = producer.send(Record::to("orders").partition(partition).value("created")).await.unwrap();
        assert_eq!(sent.offset, Some(0), "each partition has a log of its own");
    }
    producer.close().await.unwrap();
    let wanted = [(TopicPartition::new("orders", 2), StartFrom::Beginning)];
    let mut consumer = kafka.consumer().assign(wanted).await.unwrap();
    let batch = consumer.poll_for(Duration::from_secs(5)).await.unwrap().expect("a batch");
    assert_eq!(batch.iter().next().unwrap().value(), Some(&b"created"[..]));
    consumer.close().await.unwrap();
    cluster.shutdown().await;
}
