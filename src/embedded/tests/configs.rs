//! The settings of topics, brokers and groups over the wire.

use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, BrokerId, CreateTopicsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
        ListConfigResourcesRequest,
        alter_configs_request::{self, AlterConfigsResource},
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::DescribeConfigsResourceResult,
        incremental_alter_configs_request as incremental,
    },
};

use super::*;

/// A change that is asked for: setting, operation and value.
type Asked<'a> = (&'a str, i8, Option<&'a str>);

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

async fn describe(
    client: &mut Client,
    kind: i8,
    resource: &str,
    key: &str,
) -> Result<DescribeConfigsResourceResult, i16> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configuration_keys(Some(vec![text(key)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let result = client.call(4, &request.with_include_documentation(true)).await.results[0].clone();
    if result.error_code == 0 { Ok(result.configs[0].clone()) } else { Err(result.error_code) }
}

/// Value and source of a setting.
async fn value(client: &mut Client, kind: i8, resource: &str, key: &str) -> (String, i8) {
    let described = describe(client, kind, resource, key).await.unwrap();
    (described.value.unwrap().to_string(), described.config_source)
}

async fn alter(client: &mut Client, kind: i8, resource: &str, changes: &[Asked<'_>]) -> i16 {
    let change = |(name, operation, value): &Asked<'_>| {
        let config = incremental::AlterableConfig::default().with_name(text(name));
        config.with_config_operation(*operation).with_value(value.map(text))
    };
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let dry = client.call(0, &request.clone().with_validate_only(true)).await.responses[0].error_code;
    let code = client.call(1, &request).await.responses[0].error_code;
    assert_eq!(dry, code, "a dry run says the same");
    code
}

#[tokio::test]
async fn a_topics_settings_are_described_and_altered() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 1)).await;
    let before = describe(&mut client, TOPIC, "orders", "cleanup.policy").await.unwrap();
    assert_eq!((before.value, before.config_source, before.config_type), (Some(text("delete")), 5, 7));
    assert_eq!(before.synonyms[0].name, text("log.cleanup.policy"));
    assert!(before.documentation.is_some());
    let story: [(&str, &[Asked<'_>], i16); 8] = [
        ("append", &[("cleanup.policy", 2, Some("compact"))], 0),
        ("subtract", &[("cleanup.policy", 3, Some("delete")), ("retention.ms", 0, Some("7"))], 0),
        ("unknown", &[("no.such", 0, Some("1"))], ResponseError::InvalidConfig.code()),
        (
            "wrong",
            &[("segment.bytes", 0, Some("1")), ("retention.ms", 0, Some("8"))],
            ResponseError::InvalidConfig.code(),
        ),
        ("no list", &[("retention.ms", 2, Some("8"))], ResponseError::InvalidConfig.code()),
        ("no value", &[("retention.ms", 0, None)], ResponseError::InvalidRequest.code()),
        ("twice", &[("retention.ms", 0, Some("8")), ("retention.ms", 1, None)], ResponseError::InvalidRequest.code()),
        ("no operation", &[("retention.ms", 9, Some("8"))], ResponseError::InvalidRequest.code()),
    ];
    for (case, changes, expected) in story {
        assert_eq!(alter(&mut client, TOPIC, "orders", changes).await, expected, "{case}");
    }
    assert_eq!(value(&mut client, TOPIC, "orders", "cleanup.policy").await, ("compact".to_owned(), 1));
    let after = describe(&mut client, TOPIC, "orders", "retention.ms").await.unwrap();
    assert_eq!((after.value, after.config_source), (Some(text("7")), 1));
    let synonyms: Vec<_> = after.synonyms.iter().map(|it| (it.name.to_string(), it.source)).collect();
    let broker_name = || "log.retention.ms".to_owned();
    assert_eq!(synonyms, [("retention.ms".to_owned(), 1), (broker_name(), 4), (broker_name(), 5)]);
    assert_eq!(alter(&mut client, TOPIC, "orders", &[("retention.ms", 1, None)]).await, 0);
    assert_eq!(value(&mut client, TOPIC, "orders", "retention.ms").await, ("-1".to_owned(), 4));
    let absent = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(alter(&mut client, TOPIC, "absent", &[]).await, absent);
    assert_eq!(describe(&mut client, TOPIC, "absent", "retention.ms").await.unwrap_err(), absent);
    cluster.shutdown().await;
}

#[tokio::test]
async fn the_old_way_of_altering_replaces_everything() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    cluster.create_topic_with("orders", 1, 1, &[("retention.ms", "7"), ("segment.ms", "8")]).unwrap();
    for version in 0..=2 {
        let new = version.to_string();
        let config = alter_configs_request::AlterableConfig::default().with_name(text("segment.ms"));
        let resource = AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text("orders"));
        let resource = resource.with_configs(vec![config.with_value(Some(text(&format!("1{new}"))))]);
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        assert_eq!(client.call(version, &request).await.responses[0].error_code, 0);
        assert_eq!(value(&mut client, TOPIC, "orders", "segment.ms").await, (format!("1{new}"), 1));
        assert_eq!(value(&mut client, TOPIC, "orders", "retention.ms").await.1, 4, "it is gone");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_is_set_for_all_brokers_is_the_default_of_all_topics() {
    let (cluster, mut client) =
        start(EmbeddedCluster::builder().brokers(2).topic("orders", 1).max_message_bytes(900)).await;
    assert_eq!(value(&mut client, TOPIC, "orders", "max.message.bytes").await, ("900".to_owned(), 4));
    assert_eq!(alter(&mut client, BROKER, "", &[("message.max.bytes", 0, Some("68"))]).await, 0);
    assert_eq!(value(&mut client, TOPIC, "orders", "max.message.bytes").await, ("68".to_owned(), 3));
    assert_eq!(value(&mut client, BROKER, "0", "message.max.bytes").await, ("68".to_owned(), 3));
    let refused = client.produce("orders", 0, Batch::of(["a"]).bytes()).await.error_code;
    assert_eq!(refused, ResponseError::MessageTooLarge.code(), "it counts");
    assert_eq!(alter(&mut client, BROKER, "0", &[("num.io.threads", 0, Some("2"))]).await, 0);
    assert_eq!(value(&mut client, BROKER, "0", "num.io.threads").await, ("2".to_owned(), 2));
    let table = [
        ("a fixed one", "0", "node.id", ResponseError::InvalidConfig.code()),
        ("an unknown broker", "7", "num.io.threads", ResponseError::InvalidRequest.code()),
    ];
    for (case, broker, setting, expected) in table {
        assert_eq!(alter(&mut client, BROKER, broker, &[(setting, 0, Some("2"))]).await, expected, "{case}");
    }
    let elsewhere = describe(&mut client, BROKER, "1", "num.io.threads").await.unwrap_err();
    assert_eq!(elsewhere, ResponseError::InvalidRequest.code(), "each broker tells of itself");
    assert_eq!(alter(&mut client, GROUP, "billing", &[("consumer.session.timeout.ms", 0, Some("50000"))]).await, 0);
    assert_eq!(value(&mut client, GROUP, "billing", "consumer.session.timeout.ms").await, ("50000".to_owned(), 8));
    assert_eq!(value(&mut client, GROUP, "other", "consumer.session.timeout.ms").await, ("45000".to_owned(), 5));
    let listed = client.call(1, &ListConfigResourcesRequest::default().with_resource_types(vec![GROUP])).await;
    assert_eq!(listed.config_resources.iter().map(|it| it.resource_name.to_string()).collect::<Vec<_>>(), ["billing"]);
    cluster.shutdown().await;
}

#[tokio::test]
async fn topics_are_created_with_settings_and_assignments() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().brokers(3)).await;
    let with = |setting: &str, value: Option<&str>| {
        let config = CreatableTopicConfig::default().with_name(text(setting)).with_value(value.map(text));
        CreatableTopic::default().with_num_partitions(1).with_replication_factor(2).with_configs(vec![config])
    };
    let assigned = |each: &[(i32, &[i32])]| {
        let one = |(index, ids): &(i32, &[i32])| {
            let ids = ids.iter().copied().map(BrokerId).collect();
            CreatableReplicaAssignment::default().with_partition_index(*index).with_broker_ids(ids)
        };
        let topic = CreatableTopic::default().with_num_partitions(-1).with_replication_factor(-1);
        topic.with_assignments(each.iter().map(one).collect())
    };
    let (invalid, unassignable) = (ResponseError::InvalidConfig.code(), ResponseError::InvalidReplicaAssignment.code());
    let table = [
        ("a setting", with("retention.ms", Some("5")), 0, (1, 2)),
        ("unknown setting", with("retention", Some("5")), invalid, (-1, -1)),
        ("wrong value", with("retention.ms", Some("-5")), invalid, (-1, -1)),
        ("no value", with("retention.ms", None), invalid, (-1, -1)),
        ("assignments", assigned(&[(1, &[2, 0]), (0, &[1, 2])]), 0, (2, 2)),
        ("a gap", assigned(&[(0, &[1]), (2, &[1])]), unassignable, (-1, -1)),
        ("unequal", assigned(&[(0, &[1]), (1, &[1, 2])]), unassignable, (-1, -1)),
        ("twice the same", assigned(&[(0, &[1, 1])]), unassignable, (-1, -1)),
        ("unknown broker", assigned(&[(0, &[3])]), unassignable, (-1, -1)),
        ("both", assigned(&[(0, &[1])]).with_num_partitions(1), ResponseError::InvalidRequest.code(), (-1, -1)),
    ];
    for (number, (case, topic, code, counts)) in table.into_iter().enumerate() {
        let topic = topic.with_name(name(&format!("topic{number}")));
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let result = client.call(7, &request).await.topics[0].clone();
        let told = (result.num_partitions, i32::from(result.replication_factor));
        assert_eq!((result.error_code, told), (code, counts), "{case}");
        assert_eq!(result.error_message.is_some(), code == invalid || code == 42, "{case}");
    }
    assert_eq!(value(&mut client, TOPIC, "topic0", "retention.ms").await, ("5".to_owned(), 1));
    let topic = cluster.shared.topics.by_name("topic4").unwrap();
    let assigned: Vec<_> = topic.partitions.iter().map(|it| (it.leader(), it.replicas().assigned)).collect();
    assert_eq!(assigned, [(1, vec![1, 2]), (2, vec![2, 0])]);
    let twice = CreateTopicsRequest::default().with_topics(
        ["same", "same"]
            .map(|it| CreatableTopic::default().with_name(name(it)).with_num_partitions(1).with_replication_factor(1))
            .to_vec(),
    );
    let codes: Vec<i16> = client.call(7, &twice).await.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ResponseError::InvalidRequest.code(); 2]);
    cluster.shutdown().await;
}
