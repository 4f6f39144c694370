//! What a cluster tells when it pretends to be an older one, beside what such brokers told.

use std::collections::BTreeMap;

use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, ApiVersionsResponse, MetadataRequest},
};

use super::{
    super::{Api, KafkaVersion, api::SERVED, presets},
    *,
};

const ALL: [KafkaVersion; 5] =
    [KafkaVersion::V2_1, KafkaVersion::V2_8, KafkaVersion::V3_9, KafkaVersion::V4_0, KafkaVersion::V4_3];

/// The answers of a real broker to ApiVersions: who asked, in which version, and the body.
fn captured(release: &str) -> Vec<(String, i16, Bytes)> {
    let path = format!("{}/protocol-tests/golden/{release}/ApiVersions.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let exchanges = text.split("\n\n").filter_map(|exchange| {
        let who = exchange.lines().find_map(|line| line.strip_prefix("# "))?;
        let (who, version) = who.split_once(": ApiVersions v")?;
        let hex = exchange.lines().find_map(|line| line.strip_prefix("< "))?;
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        Some((who.to_owned(), version.parse().unwrap(), Bytes::from_iter(bytes).slice(4..)))
    });
    exchanges.collect()
}

fn answer_of(release: &str, version: i16) -> ApiVersionsResponse {
    let found = captured(release).into_iter().find(|(who, of, _)| who == "milena" && *of == version);
    let (_, _, mut body) = found.expect("it was captured");
    ApiVersionsResponse::decode(&mut body, if version > 4 { 0 } else { version }).unwrap()
}

fn ranges(answer: &ApiVersionsResponse) -> BTreeMap<i16, (i16, i16)> {
    answer.api_keys.iter().map(|key| (key.api_key, (key.min_version, key.max_version))).collect()
}

#[test]
fn the_table_is_what_real_brokers_told() {
    for (release, version) in
        [("2.1.1", KafkaVersion::V2_1), ("3.9.1", KafkaVersion::V3_9), ("4.3.1", KafkaVersion::V4_3)]
    {
        let told = ranges(&answer_of(release, 0));
        for api in ApiKey::iter().filter(|api| !(4..=7).contains(&(*api as i16))) {
            let expected = told.get(&(api as i16)).copied();
            assert_eq!(presets::released(api, version), expected, "{api:?} of {release}");
        }
    }
    for (api, first, last) in SERVED {
        let newest = presets::released(*api, KafkaVersion::V4_3).expect("a request that Kafka 4.3 knows");
        // Version 6 is served to whoever asks for it by `api_versions` (KIP-1319); no release tells of it.
        let beyond = i16::from(*api == ApiKey::TxnOffsetCommit);
        let is_known = newest.0 <= *first && *last <= newest.1 + beyond;
        assert!(is_known, "{api:?} is served beyond Kafka 4.3, which tells {newest:?}");
    }
}

#[tokio::test]
async fn each_release_is_told_as_far_as_it_is_served() {
    for version in ALL {
        let (cluster, mut client) = start(EmbeddedCluster::builder().version(version)).await;
        let told = ranges(&client.call(0, &api_versions(0)).await);
        let expected = SERVED.iter().filter_map(|(api, first, last)| {
            let (low, high) = presets::released(*api, version)?;
            // A release may know a request in older versions alone, such as WriteTxnMarkers.
            Some((*api as i16, (low.max(*first), high.min(*last)))).filter(|(_, (low, high))| low <= high)
        });
        assert_eq!(told, expected.collect(), "{version:?}");
        assert_eq!(told[&0].1, [7, 9, 11, 12, 13][version as usize], "Produce of {version:?}");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn features_are_those_of_a_new_cluster() {
    for (release, version, asked) in
        [("3.9.1", KafkaVersion::V3_9, 3), ("3.9.1", KafkaVersion::V3_9, 4), ("4.3.1", KafkaVersion::V4_3, 4)]
    {
        let (cluster, mut client) = start(EmbeddedCluster::builder().version(version)).await;
        let (ours, theirs) = (client.call(asked, &api_versions(asked)).await, answer_of(release, asked));
        let unserved = |name: &str| name.starts_with("share.") || name.starts_with("streams.");
        let levels = |answer: &ApiVersionsResponse| -> BTreeMap<String, (i16, i16)> {
            let finalized = answer.finalized_features.iter().filter(|feature| !unserved(&feature.name));
            finalized.map(|it| (it.name.to_string(), (it.min_version_level, it.max_version_level))).collect()
        };
        assert_eq!(levels(&ours), levels(&theirs), "{release}");
        let supported = |answer: &ApiVersionsResponse| -> BTreeMap<String, (i16, i16)> {
            let supported = answer.supported_features.iter().filter(|feature| !unserved(&feature.name));
            supported.map(|it| (it.name.to_string(), (it.min_version, it.max_version))).collect()
        };
        assert_eq!(supported(&ours), supported(&theirs), "{release} v{asked}");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn n1_an_unknown_version_of_api_versions_is_refused_as_that_release_does() {
    for (release, version) in
        [("2.1.1", KafkaVersion::V2_1), ("3.9.1", KafkaVersion::V3_9), ("4.3.1", KafkaVersion::V4_3)]
    {
        let (cluster, mut client) = start(EmbeddedCluster::builder().version(version)).await;
        client.stream.write_all(&[0, 0, 0, 12, 0, 18, 0, 99, 0, 0, 0, 1, 9, 9, 9, 9]).await.unwrap();
        let theirs = captured(release).into_iter().find(|(_, asked, _)| *asked == 99).unwrap().2;
        assert_eq!(client.frame().await.unwrap().slice(4..), theirs, "{release}");
        assert_eq!(client.call(0, &api_versions(0)).await.error_code, 0, "the connection goes on");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn what_is_not_told_closes_the_connection() {
    let builder = EmbeddedCluster::builder().api_versions(Api::Metadata, 5..=9).without_api(Api::DeleteTopics);
    let (cluster, mut client) = start(builder.feature("transaction.version", 1).feature("group.version", 0)).await;
    let request = api_versions(3);
    let told = client.call(3, &request).await;
    assert_eq!((ranges(&told)[&3], ranges(&told).get(&20)), ((5, 9), None));
    let level = |answer: &ApiVersionsResponse, name: &str| {
        answer.finalized_features.iter().find(|it| *it.name == *name).map(|it| it.max_version_level)
    };
    assert_eq!((level(&told, "transaction.version"), level(&told, "group.version")), (Some(1), None));
    cluster.set_feature("group.version", 1);
    let later = client.call(3, &request).await;
    assert_eq!(level(&later, "group.version"), Some(1));
    assert!(later.finalized_features_epoch > told.finalized_features_epoch);
    client.call(9, &MetadataRequest::default()).await;
    client.send(10, &MetadataRequest::default()).await;
    client.closed().await;
    let mut client = Client::to(&cluster).await;
    client.send(4, &kafka_protocol::messages::DeleteTopicsRequest::default()).await;
    client.closed().await;
    assert_eq!(cluster.requests(Api::Metadata), BTreeMap::from([(9, 1)]));
    assert_eq!((cluster.requests(Api::ApiVersions)[&3], cluster.requests(Api::DeleteTopics).len()), (2, 0));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_client_software_without_a_name_is_refused() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    for (name, good) in [("milena", true), ("a-b.c", true), ("", false), ("-a", false), ("a b", false), ("ä", false)] {
        let name = StrBytes::from_static_str(name);
        let request = ApiVersionsRequest::default()
            .with_client_software_name(name.clone())
            .with_client_software_version(StrBytes::from_static_str("1"));
        let answer = client.call(4, &request).await;
        let expected = if good { 0 } else { ResponseError::InvalidRequest.code() };
        assert_eq!(answer.error_code, expected, "{name:?}");
    }
    cluster.shutdown().await;
}
