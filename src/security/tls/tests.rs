//! TLS settings against an in-memory server of `rustls`; the certificates in `testdata` are good until 2120.

use std::{io, io::Read, sync::Arc};

use rustls::{ServerConfig, ServerConnection, server::WebPkiClientVerifier};

use super::*;

const CA: &str = include_str!("../testdata/ca.pem");
const OTHER_CA: &str = include_str!("../testdata/other-ca.pem");
const BROKER: (&str, &str) = (include_str!("../testdata/broker.pem"), include_str!("../testdata/broker.key"));
const EXPIRED: (&str, &str) = (include_str!("../testdata/broker-expired.pem"), include_str!("../testdata/broker.key"));
const CLIENT: (&str, &str) = (include_str!("../testdata/client.pem"), include_str!("../testdata/client.key"));
const ENCRYPTED_KEY: &str = include_str!("../testdata/client-encrypted.key");

fn server((chain, key): (&str, &str), asks_for_client: bool) -> Arc<ServerConfig> {
    let provider = own_provider().expect("this CPU has graviola's instructions");
    let roots = Arc::new(Roots::Inline(CA.to_owned()).load().expect("CA"));
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().expect("versions");
    let builder = if asks_for_client {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().expect("verifier");
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let chain = certificates(chain.as_bytes(), "test").expect("chain");
    let key = private_key(key.as_bytes(), "test").expect("key");
    Arc::new(builder.with_single_cert(chain, key).expect("certificate"))
}

/// A whole handshake in memory; returns the SNI that the server saw.
fn shake(tls: &TlsConfig, host: &str, server: Arc<ServerConfig>) -> Result<Option<String>, Error> {
    let mut client = rustls::ClientConnection::new(tls.client_config()?, server_name(host)?).expect("connection");
    let mut server = ServerConnection::new(server).expect("connection");
    for _ in 0..10 {
        pass(&mut client, &mut server).map_err(|error| explain(&error, "b:1").expect("a TLS error"))?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(server.server_name().map(str::to_owned))
}

fn pass(client: &mut rustls::ClientConnection, server: &mut ServerConnection) -> io::Result<()> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire)?;
    }
    let mut input = wire.as_slice();
    while !input.is_empty() {
        server.read_tls(&mut input)?;
        // A server's own complaint goes out as an alert below.
        let _ = server.process_new_packets();
    }
    let mut wire = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut wire)?;
    }
    let mut input = wire.as_slice();
    while !input.is_empty() {
        client.read_tls(&mut input)?;
        client.process_new_packets().map_err(io::Error::other)?;
    }
    match client.reader().read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        other => other.map(|_| ()),
    }
}

fn failure(tls: &TlsConfig, host: &str, server: Arc<ServerConfig>) -> String {
    let error = shake(tls, host, server).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(std::error::Error::source(&error).is_some());
    error.to_string()
}

#[test]
fn a_broker_of_a_trusted_authority_is_believed() {
    for versions in [Versions::Both, Versions::Only12, Versions::Only13] {
        let tls = TlsConfig::new().ca_pem(CA).versions(versions);
        assert_eq!(shake(&tls, "localhost", server(BROKER, false)).expect("trusted").as_deref(), Some("localhost"));
        assert_eq!(shake(&tls, "127.0.0.1", server(BROKER, false)).expect("trusted"), None, "addresses are no SNI");
    }
}

#[test]
fn n12_sni_has_no_trailing_dot() {
    let tls = TlsConfig::new().ca_pem(CA);
    assert_eq!(shake(&tls, "broker.test.", server(BROKER, false)).expect("trusted").as_deref(), Some("broker.test"));
}

#[test]
fn an_unknown_authority_is_named_with_its_cure() {
    let text = failure(&TlsConfig::new().ca_pem(OTHER_CA), "localhost", server(BROKER, false));
    assert!(
        text.contains("b:1") && text.contains("does not trust") && text.contains("ssl.truststore.location"),
        "{text}"
    );
}

#[test]
fn a_certificate_of_another_host_is_refused_with_both_names() {
    let text = failure(&TlsConfig::new().ca_pem(CA), "other.test", server(BROKER, false));
    assert!(text.contains("not for `other.test`") && text.contains("broker.test"), "{text}");
}

#[test]
fn an_expired_certificate_is_refused_as_such() {
    let text = failure(&TlsConfig::new().ca_pem(CA), "localhost", server(EXPIRED, false));
    assert!(text.contains("has expired"), "{text}");
}

#[test]
fn any_name_still_checks_chain_and_dates() {
    let tls = TlsConfig::new().ca_pem(CA).dangerous_accept_any_name();
    for versions in [Versions::Only12, Versions::Only13] {
        shake(&tls.clone().versions(versions), "other.test", server(BROKER, false)).expect("the name does not matter");
    }
    assert!(failure(&tls, "other.test", server(EXPIRED, false)).contains("has expired"));
    let other = TlsConfig::new().ca_pem(OTHER_CA).dangerous_accept_any_name();
    assert!(failure(&other, "other.test", server(BROKER, false)).contains("does not trust"));
}

#[test]
fn a_client_certificate_is_shown_and_a_missing_one_is_said_to_be_missing() {
    let tls = TlsConfig::new().ca_pem(CA);
    for versions in [Versions::Only12, Versions::Only13] {
        let with = tls.clone().identity_pem(CLIENT.1, CLIENT.0).versions(versions);
        shake(&with, "localhost", server(BROKER, true)).expect("accepted");
        let text = failure(&tls.clone().versions(versions), "localhost", server(BROKER, true));
        assert!(text.contains("certificate"), "{text}");
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_named() {
    let mut client = rustls::ClientConnection::new(
        TlsConfig::new().ca_pem(CA).client_config().expect("config"),
        server_name("h").expect("name"),
    )
    .expect("connection");
    client.read_tls(&mut b"HTTP/1.1 400 Bad Request\r\n".as_slice()).expect("read");
    let error = io::Error::other(client.process_new_packets().expect_err("no TLS"));
    let text = explain(&error, "h:9092").expect("a TLS error").to_string();
    assert!(text.contains("h:9092 did not answer in TLS"), "{text}");
}

#[test]
fn no_secret_in_debug_of_tls_or_in_its_errors() {
    let tls = TlsConfig::new().ca_pem(CA).identity_pem(CLIENT.1, CLIENT.0);
    tls.client_config().expect("valid");
    let line = CLIENT.1.lines().nth(1).expect("a line of the key");
    assert!(!format!("{tls:?}").contains(line));
    for damaged in [CLIENT.1.replace("PRIVATE KEY", "PRIVATE KEX"), CLIENT.1.replace('M', "!"), String::from("x")] {
        let error = TlsConfig::new().ca_pem(CA).identity_pem(damaged, CLIENT.0).client_config().expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error:?}").contains(&line[10..30]), "{error:?}");
    }
}

#[test]
fn an_encrypted_key_is_said_to_be_encrypted() {
    let tls = TlsConfig::new().ca_pem(CA).identity_pem(ENCRYPTED_KEY, CLIENT.0);
    assert!(tls.client_config().expect_err("encrypted").to_string().contains("is encrypted"));
}

#[test]
fn bad_files_are_named() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/security/tls.rs");
    for (path, expected) in [("/nowhere/ca.pem", "cannot read /nowhere/ca.pem"), (here, "holds no PEM certificate")] {
        let error = TlsConfig::new().ca_file(path).client_config().expect_err("unusable");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_host_that_no_certificate_can_name_is_a_config_error() {
    for host in ["", ".", "a b", "ho\u{0}st", "ä.test"] {
        assert_eq!(server_name(host).expect_err(host).kind(), ErrorKind::Config);
    }
}

#[test]
fn the_provider_is_the_users_then_the_processes_then_graviola_then_an_error() {
    let provider = || own_provider().expect("supported");
    let (mine, process) = (provider(), provider());
    let lacking = || vec!["adx", "bmi2"];
    let same = |found: Result<Arc<CryptoProvider>>, expected: &Arc<CryptoProvider>| {
        Arc::ptr_eq(&found.expect("one"), expected)
    };
    assert!(same(choose_provider(Some(mine.clone()), Some(process.clone()), lacking()), &mine));
    assert!(same(choose_provider(None, Some(process.clone()), lacking()), &process));
    assert!(choose_provider(None, None, Vec::new()).is_ok());
    let error = choose_provider(None, None, lacking()).expect_err("an old CPU");
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("lacks adx, bmi2"), "{error}");
}

#[test]
fn clones_share_what_was_built_and_changes_do_not() {
    let tls = TlsConfig::new().ca_pem(CA);
    let config = tls.clone().client_config().expect("valid");
    assert!(Arc::ptr_eq(&config, &tls.client_config().expect("valid")));
    assert!(!Arc::ptr_eq(&config, &tls.clone().dangerous_accept_any_name().client_config().expect("valid")));
    assert!(Arc::ptr_eq(&config, &TlsConfig::from_rustls(config.clone()).client_config().expect("given")));
}
