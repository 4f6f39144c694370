//! The client against a cluster that lets not everybody in.
#![cfg(all(feature = "embedded", feature = "tls"))]

use std::time::Duration;

use milena::{
    ErrorKind, Kafka, Record, Result,
    embedded::{Api, Builder, EmbeddedCluster, KafkaVersion, SaslMechanism},
    security::{Sasl, Security, TlsConfig},
};

const CA: &str = include_str!("../src/security/testdata/ca.pem");
const BROKER: (&str, &str) =
    (include_str!("../src/security/testdata/broker.key"), include_str!("../src/security/testdata/broker.pem"));
const CLIENT: (&str, &str) =
    (include_str!("../src/security/testdata/client.key"), include_str!("../src/security/testdata/client.pem"));

fn guarded() -> Builder {
    EmbeddedCluster::builder().topic("orders", 1).sasl_user("alice", "alice-secret").sasl_user("b,o=b", "b,o=b ünïcode")
}

fn over_tls(builder: Builder) -> Builder {
    builder.tls_pem(BROKER.0, BROKER.1).advertised_host("localhost")
}

async fn send(cluster: &EmbeddedCluster, security: Security) -> Result<()> {
    let kafka = Kafka::builder().bootstrap(&cluster.bootstrap()).security(security).connect().await?;
    let producer = kafka.producer().build().await?;
    producer.send(Record::to("orders").value("created")).await?;
    producer.close().await
}

fn users(password: &str) -> [Sasl; 3] {
    [Sasl::plain("alice", password), Sasl::scram_sha_256("alice", password), Sasl::scram_sha_512("alice", password)]
}

#[tokio::test]
async fn every_mechanism_lets_the_right_user_in_and_the_wrong_one_not() {
    for tls in [false, true] {
        let cluster = if tls { over_tls(guarded()) } else { guarded() }.start().await.unwrap();
        let base = || if tls { Security::tls(TlsConfig::new().ca_pem(CA)) } else { Security::plaintext() };
        for sasl in users("alice-secret") {
            let mechanism = sasl.mechanism();
            send(&cluster, base().with_sasl(sasl)).await.unwrap_or_else(|error| panic!("{mechanism} {tls}: {error}"));
        }
        send(&cluster, base().with_sasl(Sasl::scram_sha_256("b,o=b", "b,o=b ünïcode"))).await.expect("escaped names");
        for sasl in users("wrong") {
            let error = send(&cluster, base().with_sasl(sasl)).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
            assert!(!error.to_string().contains("wrong"), "{error}");
        }
        let connections = cluster.connections();
        let names: Vec<&str> = connections.keys().map(String::as_str).collect();
        assert_eq!(names, ["User:alice", "User:b,o=b"]);
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_named_with_those_that_are() {
    let cluster = guarded().sasl_mechanisms([SaslMechanism::ScramSha512]).start().await.unwrap();
    let plain = Security::plaintext().with_sasl(Sasl::plain("alice", "alice-secret"));
    let error = send(&cluster, plain).await.expect_err("refused").to_string();
    assert!(error.contains("PLAIN") && error.contains("SCRAM-SHA-512"), "{error}");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_broker_of_2_1_takes_credentials_too() {
    let cluster = guarded().version(KafkaVersion::V2_1).start().await.unwrap();
    send(&cluster, Security::plaintext().with_sasl(Sasl::plain("alice", "alice-secret"))).await.unwrap();
    assert_eq!(cluster.requests(Api::SaslAuthenticate).into_keys().collect::<Vec<_>>(), [0]);
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_client_certificate_opens_where_one_is_asked_for() {
    let cluster = over_tls(EmbeddedCluster::builder().topic("orders", 1)).tls_client_ca_pem(CA).start().await.unwrap();
    let tls = TlsConfig::new().ca_pem(CA);
    send(&cluster, Security::tls(tls.clone().identity_pem(CLIENT.0, CLIENT.1))).await.unwrap();
    let stranger = tokio::time::timeout(Duration::from_secs(60), send(&cluster, Security::tls(tls))).await;
    let error = stranger.expect("in time").expect_err("refused");
    assert!(matches!(error.kind(), ErrorKind::Tls | ErrorKind::Disconnected | ErrorKind::Connect), "{error}");
    let connections = cluster.connections();
    assert!(connections.len() == 1 && connections.keys().all(|name| name.starts_with("User:CN=")), "{connections:?}");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_stranger_without_credentials_is_told_nothing() {
    let cluster = guarded().start().await.unwrap();
    let stranger = tokio::time::timeout(Duration::from_secs(60), send(&cluster, Security::plaintext())).await;
    stranger.expect("in time").expect_err("refused");
    assert!(cluster.requests(Api::Metadata).is_empty());
    cluster.shutdown().await;
}
