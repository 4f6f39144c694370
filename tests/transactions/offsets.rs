//! Offsets of consumer groups that are committed with a transaction.

use std::time::Duration;

use milena::{
    ConsumerGroupMetadata, ErrorCode, TopicPartition,
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, MemoryNetwork, When},
    producer::{CommitError, TransactionError},
};

use super::{PARTITIONS, TOPIC, VERSIONS, World, record};

/// T6, the producer's side: offsets in the name of a member that its group has left behind.
#[tokio::test(start_paused = true)]
async fn t6_offsets_of_a_zombie_abort_the_transaction() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        let zombie = ConsumerGroupMetadata::new("billing").member(3, "long-gone");
        let offsets = [(TopicPartition::new(TOPIC, 0), 7)];
        let transaction = producer.begin().await.expect("begins");
        transaction.send(record(0, "a")).await.expect("written");
        let error = transaction.send_offsets(&zombie, offsets.clone()).await.expect_err("refused");
        assert!(matches!(error, TransactionError::Abortable(_)), "{error}");
        let error = transaction.enqueue(record(0, "b")).await.expect_err("it can only be aborted");
        assert!(matches!(error, TransactionError::Abortable(_)), "{error}");
        let error = transaction.commit().await.expect_err("it can only be aborted");
        assert!(matches!(error, CommitError::Aborted(_)), "{error}");
        assert_eq!(world.cluster.committed_offset("billing", TOPIC, 0), None);
        let transaction = producer.begin().await.expect("the producer lives");
        let twice = [3, 7].map(|offset| (TopicPartition::new(TOPIC, 0), offset));
        transaction.send_offsets(&ConsumerGroupMetadata::new("billing"), twice).await.expect("taken");
        assert_eq!(world.cluster.committed_offset("billing", TOPIC, 0), None, "not before the commit");
        transaction.commit().await.expect("committed");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.cluster.committed_offset("billing", TOPIC, 0), Some(7));
        assert!(world.visible().await.is_empty());
    }
}

/// Offsets go with their transaction, whatever happens on their way.
#[tokio::test(start_paused = true)]
async fn kip_447_offsets_are_committed_with_their_transaction() {
    let faults = [
        Fault::on(Api::TxnOffsetCommit, FaultAction::Disconnect(When::AfterApplying)),
        Fault::on(Api::TxnOffsetCommit, FaultAction::Silence(When::BeforeApplying)),
        Fault::error(Api::TxnOffsetCommit, ErrorCode::NOT_COORDINATOR),
        Fault::error(Api::TxnOffsetCommit, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS).times(3),
        Fault::error(Api::TxnOffsetCommit, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        Fault::on(Api::AddOffsetsToTxn, FaultAction::Disconnect(When::AfterApplying)),
        Fault::error(Api::AddOffsetsToTxn, ErrorCode::CONCURRENT_TRANSACTIONS).times(2),
    ];
    for version in VERSIONS {
        for fault in &faults {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            world.cluster.inject(fault.clone());
            for (offset, commit) in [(5, true), (6, false)] {
                let transaction = producer.begin().await.expect("begins");
                transaction.enqueue(record(1, "a")).await.expect("enqueued").detach();
                let group = ConsumerGroupMetadata::new("billing");
                let wanted = (0..PARTITIONS).map(|partition| (TopicPartition::new(TOPIC, partition), offset));
                transaction.send_offsets(&group, wanted).await.expect("taken");
                if commit {
                    transaction.commit().await.expect("committed");
                } else {
                    transaction.abort().await.expect("aborted");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert_eq!(world.cluster.committed_offset("billing", TOPIC, 2), Some(5), "version {version} {fault:?}");
            }
        }
    }
}

/// Offsets go by their topics' ids where a broker takes that and all ids are known, and else by name.
#[tokio::test(start_paused = true)]
async fn kip_1319_offsets_go_by_topic_id_where_the_broker_and_the_client_know_it() {
    for (feature, newest, expected) in [(2, 6, 6), (2, 5, 5), (1, 6, 4)] {
        let network = MemoryNetwork::new();
        let builder = EmbeddedCluster::builder().brokers(3).topic(TOPIC, PARTITIONS).topic("strange", 1);
        let builder = builder.feature("transaction.version", feature).api_versions(Api::TxnOffsetCommit, 0..=newest);
        let cluster = builder.memory(&network).start().await.expect("starts");
        let kafka = World::client(&cluster, &network, "milena").await;
        let world = World { cluster, network, kafka };
        let mut producer = world.producer().await;
        let group = ConsumerGroupMetadata::new("billing");
        let spoken = || world.cluster.requests(Api::TxnOffsetCommit).keys().copied().collect::<Vec<i16>>();
        let offset = |topic: &str, offset| (TopicPartition::new(topic, 0), offset);

        producer.prepare(&record(0, "a")).await.expect("there is one");
        let transaction = producer.begin().await.expect("begins");
        transaction.send_offsets(&group, [offset(TOPIC, 7)]).await.expect("taken");
        assert_eq!(spoken(), [expected], "transaction.version {feature}");
        // Made again: the id that the client knows is nobody's any more.
        world.kafka.admin().delete_topic(TOPIC).await.expect("deleted");
        world.cluster.create_topic(TOPIC, PARTITIONS).expect("made again");
        transaction.send_offsets(&group, [offset(TOPIC, 8)]).await.expect("looked up again");
        transaction.abort().await.expect("aborted");

        let transaction = producer.begin().await.expect("begins");
        // The client has never asked for this topic's id.
        transaction.send_offsets(&group, [offset(TOPIC, 9), offset("strange", 3)]).await.expect("taken");
        transaction.commit().await.expect("committed");
        let by_name = expected.min(5);
        assert_eq!(spoken(), if expected == 6 { vec![by_name, 6] } else { vec![by_name] });
        for (topic, expected) in [(TOPIC, 9), ("strange", 3)] {
            assert_eq!(world.cluster.committed_offset("billing", topic, 0), Some(expected), "version {newest}");
        }
    }
}

/// A topic that was made again has another id than the client knows: it looks before it asks again.
#[tokio::test(start_paused = true)]
async fn kip_1319_offsets_under_a_stale_topic_id_are_looked_up_again() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        let looked = || world.cluster.requests(Api::Metadata).values().sum::<u64>();
        let transaction = producer.begin().await.expect("begins");
        let before = looked();
        let stale = world.cluster.inject(Fault::error(Api::TxnOffsetCommit, ErrorCode::UNKNOWN_TOPIC_ID));
        let group = ConsumerGroupMetadata::new("billing");
        transaction.send_offsets(&group, [(TopicPartition::new(TOPIC, 0), 7)]).await.expect("taken");
        assert_eq!(stale.left(), 0);
        assert!(looked() > before, "version {version}");
        transaction.commit().await.expect("committed");
    }
}
