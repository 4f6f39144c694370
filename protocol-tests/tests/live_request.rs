//! Requests in the caller's own words against a real broker.

use milena::{
    ErrorCode, ErrorKind, Kafka,
    admin::NewTopic,
    wire::{self, ApiKey, messages::*},
};
use protocol_tests::{run_live, unique};

#[test]
fn the_quorum_describes_itself() {
    run_live("the_quorum_describes_itself", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let quorum = |partition_index| DescribeQuorumRequest {
            topics: vec![DescribeQuorumRequestTopicData {
                topic_name: "__cluster_metadata".into(),
                partitions: vec![DescribeQuorumRequestPartitionData { partition_index }],
            }],
        };
        let answer = kafka.request(quorum(0)).controller().await?;
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(
            (answer.error_code, partition.error_code, partition.leader_id),
            (ErrorCode::NONE, ErrorCode::NONE, 1)
        );
        assert_eq!(partition.current_voters.len(), 1);
        // An answer that says no is an answer.
        let answer = kafka.request(quorum(7)).await?;
        assert_ne!(answer.topics[0].partitions[0].error_code, ErrorCode::NONE);
        Ok(())
    });
}

#[test]
fn each_version_of_a_request_can_be_asked_for() {
    run_live("each_version_of_a_request_can_be_asked_for", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let offered = kafka.versions(1).await?.range(ApiKey::DESCRIBE_CLUSTER).expect("it has that");
        for version in offered.clone() {
            let answer = kafka.request(DescribeClusterRequest::default()).version(version).await?;
            assert_eq!((answer.error_code, answer.brokers.len()), (ErrorCode::NONE, 1), "version {version}");
        }
        let beyond = kafka.request(DescribeClusterRequest::default()).version(offered.end() + 1).await;
        assert_eq!(beyond.expect_err("nobody has that").kind(), ErrorKind::UnsupportedVersion);
        // Unstable, and a broker offers it only when it is told to.
        let unstable = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 10_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let error = kafka.request(unstable.clone()).version(6).await.expect_err("it is not offered");
        assert!(error.to_string().contains("in versions 0 to 5"), "{error}");
        let answer = kafka.request(unstable).unstable().elsewhere(|answer| answer.error_code).await?;
        assert_eq!((answer.error_code, answer.producer_id >= 0), (ErrorCode::NONE, true), "{answer:?}");
        Ok(())
    });
}

#[test]
fn every_destination_is_found() {
    run_live("every_destination_is_found", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let (topic, group) = (unique("request"), unique("group"));
        kafka.admin().create_topic(NewTopic::new(&topic, 3, 1)).await?;
        let partition = ListOffsetsPartition { partition_index: 2, timestamp: -1, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: topic.as_str().into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        // A broker tells of a new partition a moment before it serves it.
        let end_code = |answer: &ListOffsetsResponse| answer.topics[0].partitions[0].error_code;
        let answer = kafka.request(request).leader_of(&topic, 2).elsewhere(end_code).await?;
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.offset), (ErrorCode::NONE, 0));

        // The first use of a group and of a transaction: the broker makes their topics, and is not ready for a while.
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: group.as_str().into(),
                topics: None,
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer =
            kafka.request(request).coordinator_of_group(&group).elsewhere(|answer| answer.groups[0].error_code).await?;
        assert_eq!(answer.groups[0].error_code, ErrorCode::NONE);
        let id = unique("transaction");
        let request = InitProducerIdRequest {
            transactional_id: Some(id.as_str().into()),
            transaction_timeout_ms: 10_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let answer =
            kafka.request(request).coordinator_of_transaction(&id).elsewhere(|answer| answer.error_code).await?;
        assert_eq!((answer.error_code, answer.producer_epoch), (ErrorCode::NONE, 0));

        let described = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { name: Some(topic.as_str().into()), ..Default::default() }]),
            ..Default::default()
        };
        let id = kafka.request(described).await?.topics[0].topic_id;
        kafka.request(DescribeClusterRequest::default()).coordinator_of_share(&group, id, 0).await?;
        kafka.request(DescribeClusterRequest::default()).broker(1).fresh().await?;
        kafka.request(DescribeClusterRequest::default()).controller().fresh().await?;
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn a_transaction_is_ended_in_words_of_ones_own() {
    run_live("a_transaction_is_ended_in_words_of_ones_own", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let (topic, id) = (unique("request"), unique("transaction"));
        kafka.admin().create_topic(NewTopic::new(&topic, 1, 1)).await?;
        let init = InitProducerIdRequest {
            transactional_id: Some(id.as_str().into()),
            transaction_timeout_ms: 10_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let own = kafka.request(init).coordinator_of_transaction(&id).elsewhere(|answer| answer.error_code).await?;
        // Version 4 and later are for brokers; the highest one for clients is chosen though more are offered.
        let add = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.as_str().into(),
            v3_and_below_producer_id: own.producer_id,
            v3_and_below_producer_epoch: own.producer_epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic { name: topic.as_str().into(), partitions: vec![0] }],
            ..Default::default()
        };
        let answer = kafka.request(add).coordinator_of_transaction(&id).await?;
        let partition = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(partition.partition_error_code, ErrorCode::NONE);
        let end = EndTxnRequest {
            transactional_id: id.as_str().into(),
            producer_id: own.producer_id,
            producer_epoch: own.producer_epoch,
            committed: true,
        };
        let answer = kafka.request(end).coordinator_of_transaction(&id).elsewhere(|answer| answer.error_code).await?;
        assert_eq!(answer.error_code, ErrorCode::NONE);
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn a_broker_tells_its_versions_and_the_clusters_features() {
    run_live("a_broker_tells_its_versions_and_the_clusters_features", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let versions = kafka.versions(1).await?;
        let lacking: Vec<_> = versions.iter().filter(|(key, _)| wire::Api::of_key(*key).is_none()).collect();
        println!("offered, and without a table here: {lacking:?}");
        assert!(versions.iter().len() > 60, "{versions:?}");
        let features = kafka.features();
        assert_eq!(versions.features(), &features, "nothing changed meanwhile");
        assert!(features.epoch() > Some(0) && features.metadata_version() > 7, "{features:?}");
        assert_eq!((features.transaction_version(), features.group_version(), features.share_version()), (2, 1, 1));
        assert_eq!((features.streams_version(), features.eligible_leader_replicas_version()), (1, 1));
        assert_eq!(features.kraft_version(), 0, "its voters are configured, not elected");
        assert!(versions.supported_feature("kraft.version").is_some(), "{versions:?}");
        Ok(())
    });
}

/// An operator switches a feature off and on again: the newest epoch is believed, by whichever connection it came.
#[test]
fn a_changed_feature_is_seen() {
    run_live("a_changed_feature_is_seen", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let before = kafka.features();
        let level = before.streams_version();
        let set = |max_version_level| UpdateFeaturesRequest {
            timeout_ms: 10_000,
            feature_updates: vec![FeatureUpdateKey {
                feature: "streams.version".into(),
                max_version_level,
                upgrade_type: if max_version_level < level { 2 } else { 1 },
                ..Default::default()
            }],
            ..Default::default()
        };
        for wanted in [0, level] {
            let answer = kafka.request(set(wanted)).controller().await?;
            assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
            // The broker learns it from the controller, a moment later.
            while kafka.versions(1).await?.features().streams_version() != wanted {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            assert_eq!(kafka.features().streams_version(), wanted);
        }
        assert!(kafka.features().epoch() > before.epoch());
        Ok(())
    });
}
