//! What a cluster tells about itself: versions, brokers, topics, coordinators.

use kafka_protocol::{
    ResponseError,
    messages::{
        ApiVersionsResponse, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, FindCoordinatorRequest,
        MetadataRequest, MetadataResponse, create_topics_request::CreatableTopic,
        delete_topics_request::DeleteTopicState, metadata_request::MetadataRequestTopic,
    },
};

use super::*;

#[tokio::test]
async fn every_version_of_api_versions_tells_the_same() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    for version in 0..=4 {
        let answer = client.call(version, &api_versions(version)).await;
        let produce = answer.api_keys.iter().find(|key| key.api_key == 0).unwrap();
        assert_eq!((answer.error_code, produce.min_version, produce.max_version), (0, 0, 13), "v{version}");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn n1_an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    // Key 18, version 99, correlation id 5; what follows may be anything.
    client.stream.write_all(&[0, 0, 0, 12, 0, 18, 0, 99, 0, 0, 0, 5, 9, 9, 9, 9]).await.unwrap();
    let mut frame = client.frame().await.unwrap();
    assert_eq!(frame.get_i32(), 5);
    let answer = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert_eq!(answer.error_code, ResponseError::UnsupportedVersion.code());
    assert_eq!((answer.api_keys.len(), answer.api_keys[0].api_key, answer.api_keys[0].max_version), (1, 18, 4));
    assert!(!frame.has_remaining());
    assert_eq!(client.call(3, &api_versions(3)).await.error_code, 0, "the connection goes on");
    cluster.shutdown().await;
}

fn wanted(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

fn led_by(response: &MetadataResponse) -> Vec<i32> {
    response.topics[0].partitions.iter().map(|partition| partition.leader_id.0).collect()
}

#[tokio::test]
async fn every_version_of_metadata_names_topics_and_brokers() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 3).topic("other", 1)).await;
    for version in 0..=13 {
        let all = MetadataRequest::default().with_topics(if version == 0 { Some(Vec::new()) } else { None });
        assert_eq!(client.call(version, &all).await.topics.len(), 2, "v{version}");
        let answer = client.call(version, &wanted("orders")).await;
        assert_eq!(led_by(&answer), [0, 0, 0], "v{version}");
        let broker = &answer.brokers[0];
        assert_eq!(format!("{}:{}", broker.host, broker.port), cluster.bootstrap(), "v{version}");
        let unknown = client.call(version, &wanted("absent")).await.topics[0].error_code;
        assert_eq!(unknown, ResponseError::UnknownTopicOrPartition.code(), "v{version}");
    }
    let id = client.call(13, &wanted("orders")).await.topics[0].topic_id;
    // Java's admin client sends an empty name with an id, librdkafka a null.
    for no_name in [None, Some(name(""))] {
        let by_id = MetadataRequestTopic::default().with_name(no_name).with_topic_id(id);
        let answer = client.call(13, &MetadataRequest::default().with_topics(Some(vec![by_id]))).await;
        assert_eq!(answer.topics[0].name, Some(name("orders")));
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn topics_are_created_on_demand_only_where_both_sides_want_it() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().auto_create_topics(4)).await;
    let unwilling = client.call(9, &wanted("fresh").with_allow_auto_topic_creation(false)).await;
    assert_eq!(unwilling.topics[0].error_code, ResponseError::UnknownTopicOrPartition.code());
    let answer = client.call(9, &wanted("fresh")).await;
    assert_eq!((answer.topics[0].error_code, answer.topics[0].partitions.len()), (0, 4));
    let bad = client.call(9, &wanted("b/d")).await.topics[0].error_code;
    assert_eq!(bad, ResponseError::InvalidTopicException.code());
    cluster.shutdown().await;
}

#[tokio::test]
async fn topics_are_created_and_deleted_by_request() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 3)).await;
    let table = [
        ("exists", "orders", 1, 1, ResponseError::TopicAlreadyExists.code()),
        ("bad name", "b/d", 1, 1, ResponseError::InvalidTopicException.code()),
        ("no partitions", "a", 0, 1, ResponseError::InvalidPartitions.code()),
        ("absurdly many", "a", i32::MAX, 1, ResponseError::InvalidPartitions.code()),
        ("more replicas than brokers", "a", 1, 3, ResponseError::InvalidReplicationFactor.code()),
    ];
    let request = |topic: &str, partitions, replicas| {
        let topic = CreatableTopic::default().with_name(name(topic)).with_num_partitions(partitions);
        CreateTopicsRequest::default().with_topics(vec![topic.with_replication_factor(replicas)])
    };
    for (case, topic, partitions, replicas, code) in table {
        assert_eq!(client.call(7, &request(topic, partitions, replicas)).await.topics[0].error_code, code, "{case}");
    }
    for version in 2..=7 {
        let topic = format!("topic-{version}");
        let dry = client.call(version, &request(&topic, 2, 1).with_validate_only(true)).await;
        assert_eq!(dry.topics[0].error_code, 0);
        let answer = client.call(version, &request(&topic, -1, -1)).await.topics[0].clone();
        assert_eq!(answer.error_code, 0, "not made by the dry run, v{version}");
        assert_eq!(client.call(9, &wanted(&topic)).await.topics[0].partitions.len(), 1);
    }
    for version in 1..=6 {
        let topic = format!("topic-{}", version + 1);
        let state = DeleteTopicState::default().with_name(Some(name(&topic)));
        let by_state = DeleteTopicsRequest::default().with_topics(vec![state]);
        let by_name = DeleteTopicsRequest::default().with_topic_names(vec![name(&topic)]);
        let request = if version >= 6 { by_state } else { by_name };
        assert_eq!(client.call(version, &request).await.responses[0].error_code, 0, "v{version}");
        let again = client.call(version, &request).await.responses[0].error_code;
        assert_eq!(again, ResponseError::UnknownTopicOrPartition.code(), "v{version}");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn leaders_are_spread_and_move_and_die_with_their_broker() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().brokers(3).topic("orders", 6)).await;
    assert_eq!(led_by(&client.call(9, &wanted("orders")).await), [0, 1, 2, 0, 1, 2]);
    let answer = client.produce("orders", 1, Batch::of(["a"]).bytes()).await;
    assert_eq!(answer.error_code, ResponseError::NotLeaderOrFollower.code());
    cluster.move_leader("orders", 1, 0).unwrap();
    assert_eq!(client.produce("orders", 1, Batch::of(["a"]).bytes()).await.error_code, 0);
    cluster.kill(2).await;
    let answer = client.call(9, &wanted("orders")).await;
    assert_eq!((led_by(&answer), answer.brokers.len()), (vec![0, 0, -1, 0, 1, -1], 2));
    assert_eq!(answer.topics[0].partitions[2].error_code, ResponseError::LeaderNotAvailable.code());
    cluster.restart(2).await.unwrap();
    assert_eq!(led_by(&client.call(9, &wanted("orders")).await), [0, 0, 2, 0, 1, 2]);
    cluster.shutdown().await;
}

#[tokio::test]
async fn every_group_has_a_coordinator_and_the_cluster_describes_itself() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().brokers(2)).await;
    let key = || StrBytes::from_static_str("billing");
    let mut nodes = Vec::new();
    for version in 0..=6 {
        let request = if version >= 4 {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![key()])
        } else {
            FindCoordinatorRequest::default().with_key(key())
        };
        let answer = client.call(version, &request).await;
        let node = answer.coordinators.first().map_or(answer.node_id, |found| found.node_id);
        assert!((0..2).contains(&node.0), "v{version}");
        nodes.push(node);
    }
    nodes.dedup();
    assert_eq!(nodes.len(), 1, "always the same broker");
    for version in 0..=2 {
        let answer = client.call(version, &DescribeClusterRequest::default()).await;
        assert_eq!((answer.error_code, answer.brokers.len()), (0, 2), "v{version}");
    }
    cluster.shutdown().await;
}

/// librdkafka 2.16 writes the null list of all topics in four bytes where one belongs; Kafka reads on behind the end.
#[tokio::test]
async fn all_topics_are_told_to_librdkafka() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 1)).await;
    let mut frame = vec![0, 3, 0, 13, 0, 0, 0, 1, 0xff, 0xff, 0];
    frame.extend([0, 0, 0, 0, 1, 0, 0]);
    client.stream.write_all(&(frame.len() as i32).to_be_bytes()).await.unwrap();
    client.stream.write_all(&frame).await.unwrap();
    let answer = client.receive::<MetadataRequest>(13, 1).await;
    assert_eq!(answer.topics[0].name, Some(name("orders")));
    cluster.shutdown().await;
}
