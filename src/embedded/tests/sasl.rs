//! Who may come in: what is taken from whom, in which order, and how long it lasts.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use kafka_protocol::{
    ResponseError,
    messages::{
        MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    },
};
use tokio::time::advance;

use super::{
    super::{Api, Fault, SaslMechanism},
    *,
};

fn builder() -> Builder {
    EmbeddedCluster::builder().sasl_user("alice", "alice-secret").sasl_user("bob", "bob-secret")
}

impl Client {
    async fn handshake(&mut self, version: i16, mechanism: &str) -> SaslHandshakeResponse {
        let mechanism = StrBytes::from_string(mechanism.to_owned());
        self.call(version, &SaslHandshakeRequest::default().with_mechanism(mechanism)).await
    }

    async fn authenticate(&mut self, version: i16, token: &[u8]) -> SaslAuthenticateResponse {
        let token = Bytes::copy_from_slice(token);
        self.call(version, &SaslAuthenticateRequest::default().with_auth_bytes(token)).await
    }

    async fn log_in(&mut self) -> SaslAuthenticateResponse {
        assert_eq!(self.handshake(1, "PLAIN").await.error_code, 0);
        self.authenticate(2, b"\0alice\0alice-secret").await
    }
}

const FAILED: ResponseError = ResponseError::SaslAuthenticationFailed;

#[tokio::test]
async fn a_password_opens_the_door_in_every_version() {
    for version in 0..=2 {
        let (cluster, mut client) = start(builder()).await;
        assert_eq!(client.call(4, &api_versions(4)).await.error_code, 0);
        let chosen = client.handshake(1, "PLAIN").await;
        let offered: Vec<&str> = chosen.mechanisms.iter().map(|name| name.as_str()).collect();
        assert_eq!((chosen.error_code, &*offered), (0, &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"][..]));
        let answer = client.authenticate(version, b"alice\0alice\0alice-secret").await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0), "v{version}");
        client.call(9, &MetadataRequest::default()).await;
        let again = client.authenticate(version, b"\0alice\0alice-secret").await;
        assert_eq!(again.error_code, ResponseError::IllegalSaslState.code(), "there is nothing left to show");
        client.call(9, &MetadataRequest::default()).await;
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn tokens_come_without_requests_after_the_oldest_handshake() {
    let (cluster, mut client) = start(builder()).await;
    assert_eq!(client.handshake(0, "PLAIN").await.error_code, 0);
    let token = b"\0alice\0alice-secret";
    client.stream.write_all(&[&(token.len() as u32).to_be_bytes(), &token[..]].concat()).await.unwrap();
    assert_eq!(client.frame().await.expect("an empty token"), b""[..]);
    client.call(9, &MetadataRequest::default()).await;
    let mut client = Client::to(&cluster).await;
    client.handshake(0, "PLAIN").await;
    client.stream.write_all(b"\0\0\0\x0d\0alice\0wrong!").await.unwrap();
    client.closed().await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn whoever_is_not_believed_hears_why_once() {
    let (cluster, _) = start(builder()).await;
    let wrong = "Authentication failed: Invalid username or password";
    let other = "Authentication failed: Client requested an authorization id that is different from username";
    let cases: &[(&str, &[u8], &str)] = &[
        ("PLAIN", b"\0alice\0wrong", wrong),
        ("PLAIN", b"\0alice\0", wrong),
        ("PLAIN", b"\0alice\0bob-secret", wrong),
        ("PLAIN", b"\0nobody\0alice-secret", wrong),
        ("PLAIN", b"\0\0", wrong),
        ("PLAIN", b"\0al\xffce\0alice-secret", wrong),
        ("PLAIN", b"bob\0alice\0alice-secret", other),
        ("PLAIN", b"alice-secret", "Invalid SASL/PLAIN response"),
        ("SCRAM-SHA-256", b"n,,n=nobody", "due to invalid credentials with SASL mechanism SCRAM-SHA-256"),
        ("SCRAM-SHA-512", b"p=tls-unique,,n=alice,r=x", "due to invalid credentials with SASL mechanism SCRAM-SHA-512"),
        ("SCRAM-SHA-512", b"\xff", "due to invalid credentials"),
    ];
    for (mechanism, token, why) in cases {
        let mut client = Client::to(&cluster).await;
        assert_eq!(client.handshake(1, mechanism).await.error_code, 0);
        let answer = client.authenticate(2, token).await;
        let message = answer.error_message.unwrap_or_default();
        assert!(answer.error_code == FAILED.code() && message.contains(why), "{mechanism} {token:?}: {message}");
        client.closed().await;
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn nobody_learns_which_users_there_are() {
    let (cluster, _) = start(builder()).await;
    for (mechanism, proof) in [("SCRAM-SHA-256", [7; 32].to_vec()), ("SCRAM-SHA-512", [7; 64].to_vec())] {
        let proof = BASE64.encode(proof);
        let mut salts = Vec::new();
        let mut refusals = Vec::new();
        for user in ["alice", "alice", "nobody", "nobody", "no=2Cone"] {
            let mut client = Client::to(&cluster).await;
            assert_eq!(client.handshake(1, mechanism).await.error_code, 0);
            let asked = client.authenticate(2, format!("n,,n={user},r=mine").as_bytes()).await;
            let challenge = String::from_utf8(asked.auth_bytes.to_vec()).unwrap();
            let [nonce, salt, "i=4096"] = challenge.split(',').collect::<Vec<_>>()[..] else {
                panic!("{user}: {challenge}");
            };
            assert!(asked.error_code == 0 && nonce.starts_with("r=mine") && nonce.len() == 6 + 32, "{challenge}");
            assert_eq!(BASE64.decode(&salt[2..]).unwrap().len(), 16, "{challenge}");
            salts.push(salt.to_owned());
            let refused = client.authenticate(2, format!("c=biws,{nonce},p={proof}").as_bytes()).await;
            assert_eq!(refused.error_code, FAILED.code(), "{user}");
            refusals.push((refused.error_message, refused.auth_bytes));
            client.closed().await;
        }
        assert!(salts[0] == salts[1] && salts[2] == salts[3] && salts[2] != salts[4], "{salts:?}");
        assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn nothing_else_is_taken_before() {
    let (cluster, mut client) = start(builder().sasl_mechanisms([SaslMechanism::ScramSha512])).await;
    client.send(9, &MetadataRequest::default()).await;
    client.closed().await;

    let mut client = Client::to(&cluster).await;
    client.send(2, &SaslAuthenticateRequest::default()).await;
    client.closed().await;

    let mut client = Client::to(&cluster).await;
    client.call(4, &api_versions(4)).await;
    client.send(4, &api_versions(4)).await;
    client.closed().await;

    let mut client = Client::to(&cluster).await;
    let refused = client.handshake(1, "PLAIN").await;
    assert_eq!(refused.error_code, ResponseError::UnsupportedSaslMechanism.code());
    assert_eq!(refused.mechanisms, ["SCRAM-SHA-512"].map(StrBytes::from_static_str));
    client.closed().await;

    let mut client = Client::to(&cluster).await;
    client.handshake(1, "SCRAM-SHA-512").await;
    client.send(9, &MetadataRequest::default()).await;
    client.closed().await;

    // A request that would be taken from a user, announced by a stranger.
    let mut client = Client::to(&cluster).await;
    client.stream.write_all(&(1i32 << 20).to_be_bytes()).await.unwrap();
    client.closed().await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_listener_that_asks_nobody_says_so() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    let refused = client.handshake(1, "PLAIN").await;
    assert_eq!((refused.error_code, refused.mechanisms.len()), (ResponseError::IllegalSaslState.code(), 0));
    let refused = client.authenticate(2, b"\0alice\0alice-secret").await;
    assert_eq!(refused.error_code, ResponseError::IllegalSaslState.code());
    client.call(9, &MetadataRequest::default()).await;
    cluster.shutdown().await;
}

async fn in_memory(builder: Builder) -> (EmbeddedCluster, MemoryNetwork, Client) {
    let network = MemoryNetwork::new();
    let cluster = builder.memory(&network).start().await.unwrap();
    let client = Client::within(&network, 0).await;
    (cluster, network, client)
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_unless_the_credentials_are_shown_again() {
    let minute = Duration::from_secs(60);
    let (cluster, network, mut client) = in_memory(builder().sasl_session_lifetime(minute)).await;
    assert_eq!(client.log_in().await.session_lifetime_ms, 60_000);
    for _ in 0..3 {
        advance(minute / 2).await;
        client.call(9, &MetadataRequest::default()).await;
        advance(minute / 4).await;
        assert_eq!(client.log_in().await.session_lifetime_ms, 60_000, "on the same connection (KIP-368)");
    }
    advance(2 * minute).await;
    assert_eq!(client.log_in().await.error_code, 0, "a handshake is what an ended session may still send");
    assert_eq!(
        client.handshake(1, "PLAIN").await.error_code,
        ResponseError::IllegalSaslState.code(),
        "not twice in a second"
    );
    advance(minute).await;
    client.send(9, &MetadataRequest::default()).await;
    client.closed().await;
    assert!(network.connect("broker-0", 9092).await.is_ok());
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_becomes_somebody_else() {
    let (cluster, network, mut client) = in_memory(builder()).await;
    client.log_in().await;
    advance(Duration::from_secs(2)).await;
    client.handshake(1, "PLAIN").await;
    let other = client.authenticate(2, b"\0bob\0bob-secret").await;
    let message = other.error_message.unwrap_or_default();
    assert!(other.error_code == FAILED.code() && message.contains("Cannot change principals"), "{message}");
    client.closed().await;

    let mut client = Client::within(&network, 0).await;
    client.log_in().await;
    client.handshake(1, "SCRAM-SHA-256").await;
    client.send(2, &SaslAuthenticateRequest::default().with_auth_bytes(b"n,,n=alice,r=x"[..].into())).await;
    client.closed().await;
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_dawdles_at_the_door_is_sent_away() {
    let (cluster, network, mut client) = in_memory(builder().handshake_timeout(Duration::from_secs(5))).await;
    client.handshake(1, "PLAIN").await;
    let before = tokio::time::Instant::now();
    client.closed().await;
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    let mut client = Client::within(&network, 0).await;
    client.log_in().await;
    advance(Duration::from_secs(3600)).await;
    client.call(9, &MetadataRequest::default()).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn faults_happen_at_the_door_too() {
    let (cluster, mut client) = start(builder()).await;
    cluster.inject(Fault::on(Api::SaslAuthenticate, super::super::FaultAction::Error(FAILED.code())));
    assert_eq!(client.log_in().await.error_code, FAILED.code());
    cluster.shutdown().await;
}

#[test]
fn no_password_is_printed() {
    let printed = format!("{:?}", builder());
    assert!(printed.contains("alice") && !printed.contains("secret"), "{printed}");
}
