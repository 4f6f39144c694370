//! Handshakes with scripted peers: what a broker, an old broker, an enemy and a stranger may answer.

use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::security::Security;

/// What the peer does with one request.
enum Answer {
    /// A reply with the right length and correlation id.
    Body(Vec<u8>),
    /// These bytes as they are.
    Raw(Vec<u8>),
    /// Nothing, and the stream stays open.
    Silence,
}

/// What the peer saw: API key, version, the rest of the frame.
type Seen = Vec<(i16, i16, Vec<u8>)>;

async fn serve<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S, answers: Vec<Answer>) -> Seen {
    let mut seen = Vec::new();
    for answer in answers {
        let Ok(length) = stream.read_i32().await else { return seen };
        let mut frame = vec![0; usize::try_from(length).expect("a length")];
        stream.read_exact(&mut frame).await.expect("a whole frame");
        let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        seen.push((number(0), number(2), frame[4..].to_vec()));
        let reply = match answer {
            Answer::Body(body) => framed([&frame[4..8], &body].concat()),
            Answer::Raw(bytes) => bytes,
            Answer::Silence => std::future::pending().await,
        };
        stream.write_all(&reply).await.expect("written");
    }
    stream.shutdown().await.ok();
    seen
}

fn framed(frame: Vec<u8>) -> Vec<u8> {
    [i32::try_from(frame.len()).expect("short").to_be_bytes().as_slice(), &frame].concat()
}

/// An ApiVersions body of `version` that offers these ranges.
fn offers(version: i16, error: i16, ranges: &[(i16, i16, i16)]) -> Vec<u8> {
    let mut body = error.to_be_bytes().to_vec();
    match version {
        0..=2 => body.extend(i32::try_from(ranges.len()).expect("few").to_be_bytes()),
        _ => body.push(u8::try_from(ranges.len() + 1).expect("few")),
    }
    for (key, min, max) in ranges {
        body.extend([*key, *min, *max].iter().flat_map(|number| number.to_be_bytes()));
        body.extend((version >= 3).then_some(0));
    }
    body.extend(if version >= 1 { vec![0; 4] } else { Vec::new() });
    body.extend((version >= 3).then_some(0));
    body
}

const MODERN: &[(i16, i16, i16)] = &[(3, 0, 13), (17, 0, 1), (18, 0, 4), (36, 0, 2)];

fn config(security: Security) -> NetConfig {
    NetConfig {
        connect_timeout: Duration::from_secs(30),
        max_frame: 1 << 20,
        security,
        network: crate::net::Network::Sockets,
    }
}

fn here() -> Address {
    Address::new("localhost", 9092)
}

async fn talk(security: Security, answers: Vec<Answer>) -> (Result<Ready, Refused>, Seen) {
    let (mine, theirs) = tokio::io::duplex(1 << 16);
    let (address, config) = (here(), config(security));
    let client = async { greet(Stream::Duplex(mine), &address, &config, "test", TRIED_FIRST).await };
    // The client's end is dropped with its error, and the peer then ends too.
    let peer = tokio::spawn(serve(theirs, answers));
    let result = client.await;
    if result.is_err() {
        peer.abort();
    }
    (result, peer.await.unwrap_or_default())
}

async fn failure(security: Security, answers: Vec<Answer>) -> Error {
    talk(security, answers).await.0.expect_err("refused").error
}

fn whole_reply() -> Vec<u8> {
    framed([&[0; 4], offers(4, 0, MODERN).as_slice()].concat())
}

#[tokio::test]
async fn n1_api_versions_falls_back_to_what_the_broker_can_read() {
    type Ranges = &'static [(i16, i16, i16)];
    let table: &[(Ranges, i16)] = &[
        (&[(18, 0, 3)], 3),
        (&[(18, 0, 2)], 2),
        (&[(18, 0, 0)], 0),
        (&[], 0),
        (&[(18, 0, 9)], 0),
        (&[(18, 0, -1)], 0),
        (&[(3, 0, 3)], 0),
    ];
    for (advertised, expected) in table {
        let answers = vec![Answer::Body(offers(0, 35, advertised)), Answer::Body(offers(*expected, 0, MODERN))];
        let (result, seen) = talk(Security::plaintext(), answers).await;
        let ready = result.expect("ready");
        assert!(ready.versions.supports(ApiKey(3), 13));
        let asked: Vec<_> = seen.iter().map(|(key, version, _)| (*key, *version)).collect();
        assert_eq!(asked, [(18, 4), (18, *expected)], "{advertised:?}");
    }
}

/// KIP-1242's version 5 would cost every older broker a second question; brokers that have it read version 4 too.
#[tokio::test]
async fn api_versions_is_asked_once_in_version_4_of_old_and_new_brokers() {
    let release = env!("CARGO_PKG_VERSION").as_bytes();
    let names = [&[7], b"milena".as_slice(), &[release.len() as u8 + 1], release].concat();
    for newest in [4, 5] {
        let answers = vec![Answer::Body(offers(4, 0, &[(3, 0, 13), (18, 0, newest)]))];
        let (result, seen) = talk(Security::plaintext(), answers).await;
        result.expect("ready");
        let [(18, 4, rest)] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!(rest[4..], [b"\0\x04test\0".as_slice(), &names, &[0]].concat(), "no cluster id, no node id");
    }
}

#[tokio::test]
async fn n1_a_broker_that_refuses_version_0_too_is_not_asked_for_ever() {
    let refusal = || Answer::Body(offers(0, 35, &[(18, 0, 3)]));
    let error = failure(Security::plaintext(), vec![refusal(), refusal(), refusal(), refusal()]).await;
    assert_eq!(error.kind(), ErrorKind::Broker(ErrorCode::UNSUPPORTED_VERSION));
}

#[tokio::test]
async fn n1_hanging_up_on_api_versions_is_tried_again_with_version_0() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = Address::new("127.0.0.1", listener.local_addr().expect("address").port());
    let peer = tokio::spawn(async move {
        let (first, _) = listener.accept().await.expect("accepted");
        let mut seen = serve::<TcpStream>(first, vec![Answer::Raw(Vec::new())]).await;
        let (second, _) = listener.accept().await.expect("accepted");
        seen.extend(serve(second, vec![Answer::Body(offers(0, 0, MODERN))]).await);
        seen
    });
    connect(&address.to_string(), &config(Security::plaintext()), "test").await.expect("ready");
    let asked: Vec<_> = peer.await.expect("served").iter().map(|(key, version, _)| (*key, *version)).collect();
    assert_eq!(asked, [(18, 4), (18, 0)]);
}

#[tokio::test]
async fn the_client_says_who_it_is() {
    let (result, seen) = talk(Security::plaintext(), vec![Answer::Body(offers(4, 0, MODERN))]).await;
    assert_eq!(result.expect("ready").session_lifetime, None);
    let body = String::from_utf8_lossy(&seen[0].2).into_owned();
    assert!(body.contains("test") && body.contains("milena") && body.contains(env!("CARGO_PKG_VERSION")), "{body}");
}

#[tokio::test]
async fn a_reply_cut_at_every_byte_is_a_lost_connection() {
    let whole = whole_reply();
    for cut in 0..whole.len() {
        let error = failure(Security::plaintext(), vec![Answer::Raw(whole[..cut].to_vec())]).await;
        assert_eq!(error.kind(), ErrorKind::Disconnected, "cut at {cut}");
        assert!(error.to_string().contains("localhost:9092 closed the connection"), "{error}");
    }
}

#[tokio::test]
async fn a_body_cut_at_every_byte_is_a_protocol_error() {
    let body = offers(4, 0, MODERN);
    for cut in 0..body.len() {
        let error = failure(Security::plaintext(), vec![Answer::Body(body[..cut].to_vec())]).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "cut at {cut}");
    }
}

#[tokio::test]
async fn garbage_in_every_byte_never_panics_or_hangs() {
    let whole = whole_reply();
    for at in 0..whole.len() {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            // Some changes leave a reply that is valid; none may do worse than an error.
            let _ = talk(Security::plaintext(), vec![Answer::Raw(bytes)]).await;
        }
    }
}

#[tokio::test]
async fn n13_impossible_lengths_are_refused_before_memory_is_reserved() {
    for length in [-1, i32::MIN, i32::MAX, 0, 3, 1 + (1 << 20)] {
        let answer = Answer::Raw(length.to_be_bytes().to_vec());
        let error = failure(Security::plaintext(), vec![answer]).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{length}");
        assert!(error.to_string().contains(&format!("of {length} bytes")), "{error}");
    }
}

#[tokio::test]
async fn n3_a_wrong_correlation_id_is_refused() {
    let reply = framed([&[0, 0, 0, 9], offers(4, 0, MODERN).as_slice()].concat());
    let error = failure(Security::plaintext(), vec![Answer::Raw(reply)]).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("correlation id 9, not 0"), "{error}");
}

#[tokio::test]
async fn strangers_are_called_by_their_names() {
    let table: [(&[u8], &str); 4] = [
        (b"\x15\x03\x03\x00\x02\x02\x50", "TLS: set `security.protocol` to SSL"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
    ];
    for (bytes, expected) in table {
        let error = failure(Security::plaintext(), vec![Answer::Raw(bytes.to_vec())]).await;
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(!error.is_retriable());
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline_and_says_which_part_was_not_answered() {
    let versions = || Answer::Body(offers(4, 0, MODERN));
    let plain = || Security::plaintext().with_sasl(Sasl::plain("alice", "hunter2"));
    let handshake = || Answer::Body(chosen(0, &["PLAIN"]));
    let table = [
        (Security::plaintext(), vec![Answer::Silence], "ApiVersions"),
        (plain(), vec![versions(), Answer::Silence], "SaslHandshake"),
        (plain(), vec![versions(), handshake(), Answer::Silence], "SaslAuthenticate"),
    ];
    for (security, answers, part) in table {
        let begun = Instant::now();
        let error = failure(security, answers).await;
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains(&format!("did not answer {part}")), "{error}");
        assert!(error.to_string().contains("within 30s"), "{error}");
        assert!((30..31).contains(&begun.elapsed().as_secs()));
    }
}

/// A SaslHandshake body.
fn chosen(error: i16, mechanisms: &[&str]) -> Vec<u8> {
    let mut body = error.to_be_bytes().to_vec();
    body.extend(u32::try_from(mechanisms.len()).expect("few").to_be_bytes());
    for name in mechanisms {
        body.extend(u16::try_from(name.len()).expect("short").to_be_bytes());
        body.extend(name.as_bytes());
    }
    body
}

/// A SaslAuthenticate body of version 1 or 2.
fn authenticated(version: i16, error: i16, message: &str, bytes: &[u8], lifetime: i64) -> Vec<u8> {
    let flexible = version >= 2;
    let mut body = if flexible { vec![0] } else { Vec::new() };
    body.extend(error.to_be_bytes());
    if flexible {
        body.push(u8::try_from(message.len() + 1).expect("short"));
    } else {
        body.extend(u16::try_from(message.len()).expect("short").to_be_bytes());
    }
    body.extend(message.as_bytes());
    if flexible {
        body.push(u8::try_from(bytes.len() + 1).expect("short"));
    } else {
        body.extend(u32::try_from(bytes.len()).expect("short").to_be_bytes());
    }
    body.extend(bytes);
    body.extend(lifetime.to_be_bytes());
    body.extend(flexible.then_some(0));
    body
}

fn alice(sasl: fn(&'static str, &'static str) -> Sasl) -> Security {
    Security::plaintext().with_sasl(sasl("alice", "hunter2"))
}

#[tokio::test]
async fn plain_is_accepted_and_the_session_lifetime_is_kept() {
    for (version, lifetime) in [(1, 5000), (2, 5000), (2, 0), (2, -1)] {
        let offered = [(17, 0, 1), (18, 0, 4), (36, 0, version)];
        let answers = vec![
            Answer::Body(offers(4, 0, &offered)),
            Answer::Body(chosen(0, &["PLAIN"])),
            Answer::Body(authenticated(version, 0, "", b"", lifetime)),
        ];
        let (result, seen) = talk(alice(Sasl::plain), answers).await;
        let expected = (lifetime > 0).then_some(Duration::from_secs(5));
        assert_eq!(result.expect("ready").session_lifetime, expected, "KIP-368");
        let asked: Vec<_> = seen.iter().map(|(key, version, _)| (*key, *version)).collect();
        assert_eq!(asked, [(18, 4), (17, 1), (36, version)]);
    }
}

#[tokio::test]
async fn refusals_of_sasl_are_sentences_without_the_password() {
    let versions = || Answer::Body(offers(4, 0, MODERN));
    let good = || Answer::Body(chosen(0, &["PLAIN"]));
    let wrong = "Authentication failed: Invalid username or password";
    let table = [
        (vec![versions(), Answer::Body(chosen(33, &["GSSAPI", "SCRAM-SHA-256"]))], "it offers GSSAPI, SCRAM-SHA-256"),
        (vec![versions(), Answer::Body(chosen(34, &[]))], "takes no SASL here"),
        (vec![versions(), good(), Answer::Body(authenticated(2, 58, wrong, b"", 0))], wrong),
        (vec![versions(), good(), Answer::Body(authenticated(2, 0, "", b"more?", 0))], "5 bytes"),
    ];
    for (answers, expected) in table {
        let error = failure(alice(Sasl::plain), answers).await;
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(!error.is_retriable());
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_refusal_names_the_user_the_mechanism_and_the_broker() {
    let refused = authenticated(2, 58, "no\n\u{1b}[31m", b"", 0);
    let answers = vec![Answer::Body(offers(4, 0, MODERN)), Answer::Body(chosen(0, &["PLAIN"])), Answer::Body(refused)];
    let text = failure(alice(Sasl::plain), answers).await.to_string();
    assert!(text.contains("localhost:9092 refused user `alice` by PLAIN"), "{text}");
    assert!(!text.contains('\n') && !text.contains('\u{1b}'), "a broker's text cannot move the cursor: {text}");
}

#[tokio::test]
async fn a_broker_without_sasl_is_not_sent_a_password() {
    let (result, seen) =
        talk(alice(Sasl::plain), vec![Answer::Body(offers(4, 0, &[(18, 0, 4)])), Answer::Silence]).await;
    assert_eq!(result.expect_err("refused").error.kind(), ErrorKind::UnsupportedVersion);
    assert!(seen.len() <= 1);
}

#[tokio::test]
async fn n5_hanging_up_during_sasl_is_called_ambiguous() {
    let answers =
        vec![Answer::Body(offers(4, 0, MODERN)), Answer::Body(chosen(0, &["PLAIN"])), Answer::Raw(Vec::new())];
    let (result, _) = talk(alice(Sasl::plain), answers).await;
    let refused = result.expect_err("lost");
    assert!(!refused.may_be_old && refused.error.is_retriable());
    let text = refused.error.to_string();
    assert!(text.contains("instead of answering SaslAuthenticate") && text.contains("starting or stopping"), "{text}");
}

#[tokio::test]
async fn a_scram_server_that_does_not_know_the_password_is_not_believed() {
    let (mine, theirs) = tokio::io::duplex(1 << 16);
    let peer = tokio::spawn(impostor(theirs));
    let (address, config) = (here(), config(alice(Sasl::scram_sha_512)));
    let refused = greet(Stream::Duplex(mine), &address, &config, "test", TRIED_FIRST).await.expect_err("refused");
    assert_eq!(refused.error.kind(), ErrorKind::Authentication);
    assert!(refused.error.to_string().contains("signature is wrong"), "{}", refused.error);
    peer.await.expect("served");
}

/// Extends the client's nonce as a real server does, and then signs with a key of its own.
async fn impostor(mut stream: DuplexStream) {
    for round in 0..4 {
        let length = stream.read_i32().await.expect("a request");
        let mut frame = vec![0; usize::try_from(length).expect("a length")];
        stream.read_exact(&mut frame).await.expect("a whole frame");
        let body = match round {
            0 => offers(4, 0, MODERN),
            1 => chosen(0, &["SCRAM-SHA-512"]),
            2 => {
                let text = String::from_utf8_lossy(&frame).into_owned();
                let nonce = text.rsplit_once(",r=").expect("a nonce").1.trim_end_matches('\0');
                authenticated(2, 0, "", format!("r={nonce}x,s=c2FsdA==,i=4096").as_bytes(), 0)
            }
            _ => {
                let signature = "A".repeat(86);
                authenticated(2, 0, "", format!("v={signature}==").as_bytes(), 0)
            }
        };
        stream.write_all(&framed([&frame[4..8], &body].concat())).await.expect("written");
    }
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;

    use std::sync::Arc;

    use rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };
    use tokio_rustls::TlsAcceptor;

    use crate::security::TlsConfig;

    const CA: &str = include_str!("../../security/testdata/ca.pem");
    const OTHER_CA: &str = include_str!("../../security/testdata/other-ca.pem");

    fn acceptor() -> TlsAcceptor {
        let chain =
            CertificateDer::from_pem_slice(include_bytes!("../../security/testdata/broker.pem")).expect("chain");
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../security/testdata/broker.key")).expect("key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("certificate");
        TlsAcceptor::from(Arc::new(config))
    }

    async fn over_tls(tls: TlsConfig, address: Address) -> Result<Ready, Refused> {
        let (mine, theirs) = tokio::io::duplex(1 << 16);
        let peer = tokio::spawn(async move {
            if let Ok(stream) = acceptor().accept(theirs).await {
                serve(stream, vec![Answer::Body(offers(4, 0, MODERN))]).await;
            }
        });
        let result = greet(Stream::Duplex(mine), &address, &config(Security::tls(tls)), "test", TRIED_FIRST).await;
        peer.await.expect("served");
        result
    }

    #[tokio::test]
    async fn a_handshake_over_tls_is_ready() {
        let ready = over_tls(TlsConfig::new().ca_pem(CA), here()).await.expect("ready");
        assert!(matches!(ready.stream, Stream::Tls(_)) && tokio::io::AsyncWrite::is_write_vectored(&ready.stream));
    }

    #[tokio::test]
    async fn unknown_authority_and_wrong_host_are_final() {
        let cases = [
            (TlsConfig::new().ca_pem(OTHER_CA), here(), "does not trust"),
            (TlsConfig::new().ca_pem(CA), Address::new("other.test", 9092), "not for `other.test`"),
        ];
        for (tls, address, expected) in cases {
            let refused = over_tls(tls, address).await.expect_err("refused");
            assert_eq!(refused.error.kind(), ErrorKind::Tls);
            assert!(!refused.may_be_old && !refused.error.is_retriable());
            assert!(refused.error.to_string().contains(expected), "{}", refused.error);
        }
    }

    #[tokio::test]
    async fn n5_a_plaintext_listener_that_hangs_up_on_tls_is_called_ambiguous() {
        let (mine, mut theirs) = tokio::io::duplex(1 << 16);
        let peer = tokio::spawn(async move { theirs.read_i32().await });
        let config = config(Security::tls(TlsConfig::new().ca_pem(CA)));
        let refused = greet(Stream::Duplex(mine), &here(), &config, "test", TRIED_FIRST).await.expect_err("lost");
        peer.await.expect("served").expect("read");
        assert_eq!(refused.error.kind(), ErrorKind::Disconnected);
        assert!(!refused.may_be_old);
        assert!(refused.error.to_string().contains("may speak no TLS"), "{}", refused.error);
    }

    #[tokio::test]
    async fn a_server_that_answers_tls_with_something_else_is_named() {
        let (mine, mut theirs) = tokio::io::duplex(1 << 16);
        let peer = tokio::spawn(async move {
            theirs.read_i32().await?;
            theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
            // The alert that the client answers with has to fit somewhere, too.
            theirs.read_to_end(&mut Vec::new()).await
        });
        let config = config(Security::tls(TlsConfig::new().ca_pem(CA)));
        let refused = greet(Stream::Duplex(mine), &here(), &config, "test", TRIED_FIRST).await.expect_err("refused");
        peer.await.expect("served").expect("written");
        assert_eq!(refused.error.kind(), ErrorKind::Tls);
        assert!(refused.error.to_string().contains("did not answer in TLS"), "{}", refused.error);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_during_tls_ends_at_the_deadline() {
        let (mine, _theirs) = tokio::io::duplex(1 << 16);
        let config = config(Security::tls(TlsConfig::new().ca_pem(CA)));
        let refused = greet(Stream::Duplex(mine), &here(), &config, "test", TRIED_FIRST).await.expect_err("silent");
        assert_eq!(refused.error.kind(), ErrorKind::Timeout);
        assert!(refused.error.to_string().contains("did not answer the TLS handshake within 30s"), "{}", refused.error);
    }
}
