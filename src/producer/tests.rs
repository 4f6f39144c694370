//! What only the inside can see: partitions that come and go, and a broker's number that means another machine.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use super::*;
use crate::wire::Str;
use crate::{
    Kafka,
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, When},
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

fn address(cluster: &EmbeddedCluster) -> (Str, i32) {
    let bootstrap = cluster.bootstrap();
    let (host, port) = bootstrap.rsplit_once(':').expect("one address");
    (host.into(), port.parse().expect("a port"))
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
    let (host, port) = address(&new);
    // Topics have other ids there, so the request is refused; what counts is that it arrives.
    let arrived = new.inject(Fault::on(Api::Produce, FaultAction::Error(6)));
    for leader_epoch in 9..29 {
        let hint = LeaderHint { leader: BrokerId(0), leader_epoch };
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

/// `max.in.flight.requests.per.connection` is what it says: the new machine is another connection.
#[tokio::test]
async fn n11_what_the_old_machine_never_answers_holds_up_nothing_on_the_new_one() {
    let two = || async {
        let cluster = EmbeddedCluster::builder().topic("t", 2).start().await.expect("starts");
        let kafka = Kafka::connect(&cluster.bootstrap()).await.expect("it is reachable");
        (cluster, kafka)
    };
    let ((old, kafka), (new, _)) = (two().await, two().await);
    let producer = kafka.producer().linger(Duration::ZERO).max_in_flight(1).build().await.expect("builds");
    let record = |partition| crate::Record::to("t").partition(partition).value("x");
    producer.send(record(0)).await.expect("sent");
    let silent = old.inject(Fault::on(Api::Produce, FaultAction::Silence(When::BeforeApplying)));
    let mut unanswered = producer.enqueue(record(0)).await.expect("taken");
    tokio::time::timeout(PATIENCE, silent.exhausted()).await.expect("the request arrives");

    let (host, port) = address(&new);
    let fault = new.inject(Fault::on(Api::Produce, FaultAction::Error(6)));
    let mut arrived = pin!(fault.exhausted());
    let waiting = producer.enqueue(record(1)).await.expect("taken");
    let mut others = Vec::new();
    let followed = async {
        for leader_epoch in 9.. {
            // The old machine answers the last refresh, too: a hint may be overtaken by it, and a record go there.
            let hint = LeaderHint { leader: BrokerId(0), leader_epoch };
            producer.handle.core.cluster.apply_hint("t", 1, hint, Some((&host, port)));
            others.push(producer.enqueue(record(1)).await.expect("taken"));
            if tokio::time::timeout(Duration::from_millis(20), &mut arrived).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, followed).await.expect("the other partition's request reaches the new machine");
    let answer = tokio::time::timeout(Duration::ZERO, &mut unanswered).await;
    assert!(answer.is_err(), "the old machine still owes its answer: {answer:?}");
    drop((waiting, old, new));
}

#[tokio::test]
async fn kip_951_a_leader_that_is_no_news_brings_no_address() {
    let (_cluster, kafka) = cluster().await;
    let producer = kafka.producer().build().await.expect("builds");
    producer.send(crate::Record::to("t").value("x")).await.expect("sent");
    let cluster = &producer.handle.core.cluster;
    let before = cluster.metadata();
    let known = before.topic("t").expect("known").partitions[0].leader_epoch;
    let elsewhere = Str::from("elsewhere");
    let hint = |leader_epoch| LeaderHint { leader: BrokerId(0), leader_epoch };
    cluster.apply_hint("t", 0, hint(known), Some((&elsewhere, 1)));
    assert_eq!(cluster.metadata().node(BrokerId(0)), before.node(BrokerId(0)));
    cluster.apply_hint("t", 0, hint(known + 1), Some((&elsewhere, 1)));
    assert_eq!(cluster.metadata().node(BrokerId(0)).map(|node| node.port), Some(1));
}
