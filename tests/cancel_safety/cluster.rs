//! The embedded cluster's futures, dropped: what tests of others lean on.

use milena::{
    Record,
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, MemoryNetwork},
};

use super::{SETTLING, TOPIC, World, at_every_cut, at_every_poll, client_of, no_task_is_left, paused};

impl World {
    async fn serves(&self) {
        let producer = self.producer(|builder| builder).await;
        producer.send(Record::to(TOPIC).value("x")).await.expect("sent");
        self.kafka.versions(0).await.expect("it answers");
    }
}

#[test]
fn a_dropped_start_of_a_cluster_frees_its_addresses() {
    at_every_cut(&paused, async |cut| {
        let network = MemoryNetwork::new();
        let builder = || EmbeddedCluster::builder().memory(&network).brokers(3).topic(TOPIC, 3);
        let started = cut.of(builder().start()).await;
        let is_enough = started.is_some();
        drop(started);
        tokio::time::sleep(SETTLING).await;
        let again = builder().start().await.expect("the addresses are free");
        client_of(&network, &again).await.admin().topic(TOPIC).await.expect("it answers");
        again.shutdown().await;
        no_task_is_left(cut).await;
        is_enough
    });
}

#[test]
fn a_dropped_kill_kills() {
    at_every_poll(async |world, cut| {
        let killed = cut.of(world.cluster.kill(0)).await;
        // Who does not wait for the end gets its address when it has come.
        tokio::time::sleep(SETTLING).await;
        world.cluster.restart(0).await.expect("it comes back");
        world.serves().await;
        killed.is_some()
    });
}

#[test]
fn a_dropped_restart_leaves_the_broker_up_or_down() {
    at_every_poll(async |world, cut| {
        world.cluster.kill(0).await;
        let restarted = cut.of(world.cluster.restart(0)).await;
        world.cluster.restart(0).await.expect("it comes back");
        world.serves().await;
        restarted.is_some()
    });
}

#[test]
fn a_dropped_disconnect_cuts() {
    at_every_poll(async |world, cut| {
        world.serves().await;
        let before = world.cluster.connections().values().sum::<u64>();
        let done = cut.of(world.cluster.disconnect(0)).await;
        world.serves().await;
        let after = world.cluster.connections().values().sum::<u64>();
        assert!(cut.polls == 0 || after > before, "nothing was cut: {cut}");
        done.is_some()
    });
}

#[test]
fn a_dropped_shutdown_shuts_down() {
    at_every_cut(&paused, async |cut| {
        let network = MemoryNetwork::new();
        let builder = || EmbeddedCluster::builder().memory(&network).brokers(3).topic(TOPIC, 3);
        let cluster = builder().start().await.expect("it starts");
        let kafka = client_of(&network, &cluster).await;
        kafka.admin().topic(TOPIC).await.expect("it answers");
        let done = cut.of(cluster.shutdown()).await;
        drop(kafka);
        no_task_is_left(cut).await;
        builder().start().await.expect("the addresses are free").shutdown().await;
        no_task_is_left(cut).await;
        done.is_some()
    });
}

#[test]
fn a_dropped_wait_for_a_fault_changes_nothing() {
    at_every_poll(async |world, cut| {
        let fault = world.cluster.inject(Fault::on(Api::Metadata, FaultAction::Error(5)));
        let admin = world.kafka.admin();
        let (exhausted, topic) = tokio::join!(cut.of(fault.exhausted()), admin.topic(TOPIC));
        assert_eq!(topic.expect("at the second attempt").leaders.len(), 1, "{cut}");
        fault.exhausted().await;
        assert_eq!(fault.left(), 0, "{cut}");
        exhausted.is_some()
    });
}
