//! Transactions against the embedded cluster, in both versions of the protocol: what goes wrong at every step, and what a
//! consumer of committed records sees of it.
//!
//! Nothing waits: time is virtual. What the client was told is compared with what is visible.

use std::{collections::BTreeMap, time::Duration};

use milena::{
    ConsumerGroupMetadata, ErrorCode, ErrorKind, Kafka, Record, TopicPartition, TransactionalProducer,
    consumer::{IsolationLevel, StartFrom},
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, MemoryNetwork, When},
    producer::{CommitError, FencedBy, Outcome, TransactionError},
};

const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;
const ID: &str = "pricing-1";
/// By what transactions end at the coordinator: `transaction.version`.
const VERSIONS: [i16; 3] = [0, 1, 2];

struct World {
    cluster: EmbeddedCluster,
    network: MemoryNetwork,
    kafka: Kafka,
}

impl World {
    async fn new(version: i16) -> Self {
        let network = MemoryNetwork::new();
        let builder =
            EmbeddedCluster::builder().brokers(3).topic(TOPIC, PARTITIONS).feature("transaction.version", version);
        let cluster = builder.memory(&network).start().await.expect("starts");
        let kafka = Self::client(&cluster, &network, "milena").await;
        Self { cluster, network, kafka }
    }

    async fn client(cluster: &EmbeddedCluster, network: &MemoryNetwork, id: &str) -> Kafka {
        let impatient = [("request.timeout.ms", "1000"), ("retry.backoff.ms", "10"), ("delivery.timeout.ms", "20000")];
        let builder = impatient.iter().fold(Kafka::builder(), |builder, (name, value)| builder.property(name, value));
        let builder = builder.bootstrap(&cluster.bootstrap()).client_id(id).memory_network(network);
        builder.connect().await.expect("it is reachable")
    }

    async fn producer(&self) -> TransactionalProducer {
        let builder = self.kafka.producer().max_block(Duration::from_secs(10));
        builder.transaction_timeout(Duration::from_secs(40)).transactional(ID).await.expect("an identity")
    }

    /// What a consumer of committed records sees, by partition.
    async fn visible(&self) -> Vec<String> {
        let reader = Self::client(&self.cluster, &self.network, "reader").await;
        let wanted = (0..PARTITIONS).map(|partition| (TopicPartition::new(TOPIC, partition), StartFrom::Beginning));
        let mut consumer =
            reader.consumer().isolation(IsolationLevel::ReadCommitted).assign(wanted).await.expect("assigned");
        let mut values = BTreeMap::new();
        while let Some(batch) = consumer.poll_for(Duration::from_secs(3)).await.expect("reads") {
            for record in &batch {
                let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
                values.insert((batch.partition(), record.offset()), value);
            }
        }
        consumer.close().await.expect("closes");
        let mut values: Vec<String> = values.into_values().collect();
        values.sort();
        values
    }

    /// The state that the coordinator has the id in, once markers had time to be written.
    async fn state(&self) -> (i16, &'static str) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let known = self.cluster.transactions().into_iter().find(|known| known.transactional_id == ID);
        known.map(|known| (known.producer_epoch, known.state)).expect("the id is known")
    }
}

fn record(partition: i32, value: &str) -> Record<'_, milena::producer::Absent, milena::producer::Given<&str>> {
    Record::to(TOPIC).partition(partition).value(value)
}

/// One record to each partition in a transaction of its own, committed.
async fn commit(producer: &mut TransactionalProducer, name: &str) -> Result<(), CommitError> {
    let transaction = producer.begin().await.expect("begins");
    for partition in 0..PARTITIONS {
        let value = format!("{name}{partition}");
        if let Err(error) = transaction.enqueue(record(partition, &value)).await {
            assert!(matches!(error, TransactionError::Abortable(_)), "{error}");
        }
    }
    transaction.commit().await
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_visible_and_what_is_aborted_is_not() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        commit(&mut producer, "a").await.expect("committed");
        let transaction = producer.begin().await.expect("begins");
        let ack = transaction.send(record(0, "b0")).await.expect("written");
        assert!(ack.offset.is_some(), "before its transaction ends");
        transaction.enqueue(record(1, "b1")).await.expect("enqueued").detach();
        transaction.abort().await.expect("aborted");
        assert_eq!(producer.outcome().await.expect("known"), Some(Outcome::Aborted));
        commit(&mut producer, "c").await.expect("committed");
        assert_eq!(producer.outcome().await.expect("known"), Some(Outcome::Committed));
        producer.close().await.expect("closes");
        assert_eq!(world.visible().await, ["a0", "a1", "a2", "c0", "c1", "c2"], "version {version}");
    }
}
