//! TLS in front of a broker, spoken to by rustls alone.

use std::sync::Arc;

use kafka_protocol::messages::MetadataRequest;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::*;
use crate::security::{certificates, private_key, provider};

const CA: &str = include_str!("../../security/testdata/ca.pem");
const OTHER_CA: &str = include_str!("../../security/testdata/other-ca.pem");
const BROKER: (&str, &str) =
    (include_str!("../../security/testdata/broker.key"), include_str!("../../security/testdata/broker.pem"));
const CLIENT: (&str, &str) =
    (include_str!("../../security/testdata/client.key"), include_str!("../../security/testdata/client.pem"));

fn builder() -> Builder {
    EmbeddedCluster::builder().tls_pem(BROKER.0, BROKER.1)
}

fn connector(identity: Option<(&str, &str)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    certificates(CA.as_bytes(), "ca").unwrap().into_iter().for_each(|certificate| roots.add(certificate).unwrap());
    let config = ClientConfig::builder_with_provider(provider(None).unwrap())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some((key, chain)) => {
            let chain = certificates(chain.as_bytes(), "chain").unwrap();
            config.with_client_auth_cert(chain, private_key(key.as_bytes(), "key").unwrap()).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

impl Client {
    async fn over_tls(self, identity: Option<(&str, &str)>) -> std::io::Result<Self> {
        let stream = connector(identity).connect("localhost".try_into().unwrap(), self.stream).await?;
        Ok(Self { stream: Box::new(stream), correlation_id: 0 })
    }
}

#[tokio::test]
async fn requests_go_over_tls_and_nothing_else_does() {
    let (cluster, client) = start(builder()).await;
    let mut secured = client.over_tls(None).await.unwrap();
    assert_eq!(secured.call(4, &api_versions(4)).await.error_code, 0);
    let mut plain = Client::to(&cluster).await;
    plain.send(4, &api_versions(4)).await;
    let mut rest = Vec::new();
    let _ = plain.stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 10, "at most an alert: {rest:?}");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_client_without_a_certificate_stays_outside_where_one_is_asked_for() {
    let (cluster, client) = start(builder().tls_client_ca_pem(CA)).await;
    let mut known = client.over_tls(Some(CLIENT)).await.unwrap();
    known.call(9, &MetadataRequest::default()).await;
    // With TLS 1.3 a client learns of it after its own half of the handshake.
    if let Ok(mut stranger) = Client::to(&cluster).await.over_tls(None).await {
        let _ = stranger.stream.write_all(b"\0\0\0\x0a").await;
        assert!(stranger.frame().await.is_none());
    }
    cluster.shutdown().await;
    let (cluster, client) = start(builder().tls_client_ca_pem(OTHER_CA)).await;
    if let Ok(mut stranger) = client.over_tls(Some(CLIENT)).await {
        assert!(stranger.frame().await.is_none(), "signed by another authority");
    }
    cluster.shutdown().await;
}

#[test]
fn neither_keys_nor_passwords_are_printed() {
    let builder = builder().sasl_user("alice", "alice-secret");
    for printed in [format!("{builder:?}"), format!("{builder:#?}")] {
        assert!(printed.contains("alice") && !printed.contains("secret"), "{printed}");
        let shown = BROKER.0.lines().find(|line| printed.contains(line.trim()));
        assert_eq!(shown, None, "{printed}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_said_at_the_start() {
    let cases = [
        (EmbeddedCluster::builder().tls_pem("no key", BROKER.1), "PEM private key"),
        (EmbeddedCluster::builder().tls_pem(BROKER.0, "no chain"), "PEM certificate"),
        (EmbeddedCluster::builder().tls_pem(CLIENT.0, BROKER.1), "do not work together"),
        (builder().tls_client_ca_pem("nobody"), "the clients' authority"),
    ];
    for (builder, expected) in cases {
        assert!(!format!("{builder:?}").contains("PRIVATE"));
        let error = builder.start().await.expect_err(expected).to_string();
        assert!(error.contains(expected) && !error.contains("no key"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_in_memory_has_its_time() {
    let network = MemoryNetwork::new();
    let cluster = builder().memory(&network).start().await.unwrap();
    let mut secured = Client::within(&network, 0).await.over_tls(None).await.unwrap();
    secured.call(9, &MetadataRequest::default()).await;
    let mut silent = Client::within(&network, 0).await;
    let before = tokio::time::Instant::now();
    silent.closed().await;
    assert_eq!(before.elapsed(), std::time::Duration::from_secs(30));
    cluster.shutdown().await;
}
