//! A small world for tests of what callers see: one broker, a client, and a network in memory between them.
//!
//! Rules this file keeps: each way takes a millisecond, so that what is on its way can be caught there; the tests' clock is
//! paused, so that nobody waits for it.

#![allow(dead_code, reason = "not every test looks at all of it")]

use std::time::Duration;

use milena::{
    Kafka,
    embedded::{EmbeddedCluster, MemoryNetwork},
};

/// A topic of one partition; there is another one, `u`.
pub(crate) const TOPIC: &str = "t";
/// Where the broker listens.
pub(crate) const BROKER: &str = "broker-0:9092";
/// How long a message takes, each way.
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

pub(crate) struct World {
    pub(crate) network: MemoryNetwork,
    pub(crate) cluster: EmbeddedCluster,
    pub(crate) kafka: Kafka,
}

impl World {
    pub(crate) async fn new() -> Self {
        let network = MemoryNetwork::new().latency(MILLISECOND..=MILLISECOND);
        let builder = EmbeddedCluster::builder().memory(&network).topic(TOPIC, 1).topic("u", 1);
        let cluster = builder.start().await.expect("it starts");
        let kafka = Kafka::builder().memory_network(&network).bootstrap(&cluster.bootstrap()).connect().await;
        Self { network, cluster, kafka: kafka.expect("it is reachable") }
    }
}
