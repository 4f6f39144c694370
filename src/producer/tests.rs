//! What only the inside can see: partitions that come and go, and a broker's number that means another machine.

use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::wire::Str;
use crate::{
    Kafka,
    embedded::{Api, EmbeddedCluster, Fault, FaultAction},
    machine::metadata::{LeaderHint, Partition as PartitionMetadata},
    types::BrokerId,
    wire::Uuid,
};

const PATIENCE: Duration = Duration::from_secs(10);

async fn cluster() -> (EmbeddedCluster, Kafka) {
    let cluster = EmbeddedCluster::builder().topic("t", 1).start().await.expect("starts");
    let kafka = Kafka::connect(&cluster.bootstrap()).await.expect("it is reachable");
    (cluster, kafka)
}

#[tokio::test]
async fn p8_partitions_that_come_back_are_the_ones_that_went() {
    let (_cluster, kafka) = cluster().await;
    let producer = kafka.producer().build().await.expect("builds");
    let core = &producer.handle.core;
    let described = |count| TopicMetadata {
        name: "t".into(),
        id: Uuid(count as u128),
        partitions: vec![PartitionMetadata { leader: Some(BrokerId(0)), leader_epoch: 0 }; count],
    };
    for (count, all) in [(3, 3), (1, 3), (3, 3), (5, 5), (2, 5), (5, 5)] {
        core.take_in(&described(count));
        let partitions = core.partitions_from(0);
        let places: BTreeSet<_> =
            partitions.iter().map(|partition| (partition.topic.clone(), partition.index)).collect();
        assert_eq!((partitions.len(), places.len()), (all, all), "after {count}");
    }
}

/// Broker 0 is another machine from one moment to the next, while the old one still answers.
#[tokio::test]
async fn n11_a_brokers_number_that_means_another_machine_is_followed() {
    let ((old, kafka), (new, _)) = (cluster().await, cluster().await);
    let producer = kafka.producer().linger(Duration::ZERO).build().await.expect("builds");
    let send = || tokio::time::timeout(PATIENCE, producer.send(crate::Record::to("t").value("x")));
    for offset in 0..3 {
        assert_eq!(send().await.expect("in time").expect("sent").offset, Some(offset));
    }
    let (host, port) =
        new.bootstrap().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).expect("one");
    let (host, port) = (Str::from(host), port.parse().expect("a port"));
    // Topics have other ids there, so the request is refused; what counts is that it arrives.
    let arrived = new.inject(Fault::on(Api::Produce, FaultAction::Error(6)));
    let hint = LeaderHint { leader: BrokerId(0), leader_epoch: 9 };
    for _ in 0..20 {
        // The old machine answers the last refresh, too: a hint may be overtaken by it.
        producer.handle.core.cluster.apply_hint("t", 0, hint, Some((&host, port)));
        send().await.expect("in time").expect("sent");
        if arrived.left() == 0 {
            break;
        }
    }
    assert_eq!(arrived.left(), 0, "nothing went to the new machine");
    drop(old);
}
