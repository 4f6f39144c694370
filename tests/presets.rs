//! The client against every release that the embedded cluster can pretend to be.
//!
//! What is looked at is the wire: which versions the cluster was asked in.
#![cfg(feature = "embedded")]

use std::{collections::BTreeMap, time::Duration};

use milena::{
    ErrorCode, ErrorKind, Kafka, Record, TopicPartition,
    consumer::StartFrom,
    embedded::{Api, EmbeddedCluster, KafkaVersion},
};

/// The one version that a request was sent in.
fn spoken(cluster: &EmbeddedCluster, api: Api) -> i16 {
    let versions: Vec<i16> = cluster.requests(api).into_keys().collect();
    assert_eq!(versions.len(), 1, "{api:?} in one version: {versions:?}");
    versions[0]
}

async fn produce_and_consume(cluster: &EmbeddedCluster) {
    let kafka = Kafka::connect(&cluster.bootstrap()).await.expect("it is reachable");
    let producer = kafka.producer().build().await.expect("a producer");
    for value in ["a", "b", "c"] {
        producer.send(Record::to("orders").value(value)).await.expect("acknowledged");
    }
    producer.close().await.expect("closed");
    let wanted = [(TopicPartition::new("orders", 0), StartFrom::Beginning)];
    let mut consumer = kafka.consumer().assign(wanted).await.expect("a consumer");
    let mut values = Vec::new();
    while values.len() < 3 {
        let batch = consumer.poll_for(Duration::from_secs(20)).await.expect("no error").expect("a batch in time");
        values.extend(batch.iter().map(|record| record.value().expect("a value").to_vec()));
    }
    assert_eq!(values, [b"a", b"b", b"c"]);
    consumer.close().await.expect("closed");
}

#[tokio::test]
async fn the_client_speaks_the_newest_versions_of_every_release() {
    let releases = [
        // Produce, Fetch, Metadata, ListOffsets, InitProducerId, ApiVersions
        // 2.1 does not say which version of ApiVersions it knows (KIP-511), and so is asked in version 0.
        (KafkaVersion::V2_1, [7, 10, 7, 4, 1, 0]),
        (KafkaVersion::V2_8, [9, 12, 11, 6, 4, 3]),
        (KafkaVersion::V3_9, [11, 17, 12, 9, 5, 4]),
        (KafkaVersion::V4_0, [12, 17, 13, 10, 5, 4]),
        (KafkaVersion::V4_3, [13, 17, 13, 10, 5, 4]),
    ];
    for (release, expected) in releases {
        let cluster = EmbeddedCluster::builder().version(release).topic("orders", 1).start().await.unwrap();
        produce_and_consume(&cluster).await;
        let apis = [Api::Produce, Api::Fetch, Api::Metadata, Api::ListOffsets, Api::InitProducerId, Api::ApiVersions];
        assert_eq!(apis.map(|api| spoken(&cluster, api)), expected, "{release:?}");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn one_narrowed_request_leaves_the_others_alone() {
    let builder = EmbeddedCluster::builder().api_versions(Api::Produce, 3..=8).api_versions(Api::Fetch, 4..=4);
    let cluster = builder.topic("orders", 1).start().await.unwrap();
    produce_and_consume(&cluster).await;
    assert_eq!([Api::Produce, Api::Fetch, Api::Metadata].map(|api| spoken(&cluster, api)), [8, 4, 13]);
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_missing_request_is_an_error_that_says_so() {
    let cluster = EmbeddedCluster::builder().without_api(Api::InitProducerId).topic("orders", 1).start().await.unwrap();
    let kafka = Kafka::connect(&cluster.bootstrap()).await.unwrap();
    let refused = async {
        let producer = kafka.producer().build().await?;
        producer.send(Record::to("orders").value("a")).await
    };
    let result: Result<_, milena::Error> =
        tokio::time::timeout(Duration::from_secs(30), refused).await.expect("in time");
    let error = result.expect_err("an idempotent producer needs an id");
    assert_eq!(error.kind(), ErrorKind::Broker(ErrorCode::UNSUPPORTED_VERSION), "{error}");
    assert_eq!(cluster.requests(Api::InitProducerId), BTreeMap::new());
    cluster.shutdown().await;
}

#[tokio::test]
async fn features_reach_the_client() {
    let cluster = EmbeddedCluster::builder().feature("transaction.version", 1).start().await.unwrap();
    let kafka = Kafka::connect(&cluster.bootstrap()).await.unwrap();
    assert_eq!((kafka.features().transaction_version(), kafka.features().metadata_version()), (1, 30));
    cluster.shutdown().await;
    let cluster = EmbeddedCluster::builder().version(KafkaVersion::V2_8).start().await.unwrap();
    let kafka = Kafka::connect(&cluster.bootstrap()).await.unwrap();
    assert_eq!((kafka.features().transaction_version(), kafka.features().iter().len()), (0, 0));
    cluster.shutdown().await;
}
