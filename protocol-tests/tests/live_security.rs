//! TLS and SASL against a real broker: what must be let in is let in, and what must not be ends in a sentence that says
//! why.

use std::{future::Future, time::Duration};

use milena::{ErrorKind, Kafka, Record, admin::NewTopic};
use protocol_tests::{PATIENCE, unique, variable};
use tokio::net::{TcpListener, TcpStream};

/// Java properties of one client.
type Properties = Vec<(&'static str, String)>;

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

fn run(body: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, body).await }).expect("in time");
}

/// The listener that `variable` names, by a protocol of Kafka.
fn listener(test: &str, variable_name: &str, protocol: &str) -> Option<Properties> {
    let mut properties = vec![("bootstrap.servers", variable(test, variable_name)?)];
    properties.push(("security.protocol", protocol.to_owned()));
    if protocol.ends_with("SSL") {
        properties.push(("ssl.truststore.type", "PEM".to_owned()));
        properties.push(("ssl.truststore.location", variable(test, "MILENA_CA_FILE")?));
    }
    Some(properties)
}

fn sasl(mechanism: &str, user: &str, password: &str) -> Properties {
    let module = match mechanism {
        "PLAIN" => "org.apache.kafka.common.security.plain.PlainLoginModule",
        _ => "org.apache.kafka.common.security.scram.ScramLoginModule",
    };
    let jaas = format!("{module} required username=\"{user}\" password=\"{password}\";");
    vec![("sasl.mechanism", mechanism.to_owned()), ("sasl.jaas.config", jaas)]
}

fn good_user(test: &str, mechanism: &str) -> Option<Properties> {
    Some(sasl(mechanism, &variable(test, "MILENA_SASL_USER")?, &variable(test, "MILENA_SASL_PASSWORD")?))
}

async fn connect(properties: &Properties) -> milena::Result<Kafka> {
    let builder = Kafka::builder().property("socket.connection.setup.timeout.ms", "5000");
    properties.iter().fold(builder, |builder, (name, value)| builder.property(name, value)).connect().await
}

/// Writes a record, which takes the connections to the advertised address too.
async fn write_a_record(properties: &Properties) -> milena::Result<()> {
    let kafka = connect(properties).await?;
    let topic = unique("security");
    kafka.admin().create_topic(NewTopic::new(&topic, 1, 1)).await?;
    let producer = kafka.producer().build().await?;
    producer.send(Record::to(&topic).value("sealed")).await?;
    producer.close().await?;
    kafka.admin().delete_topic(&topic).await
}

async fn refusal(properties: &Properties) -> (ErrorKind, String) {
    let error = connect(properties).await.map(|_| ()).expect_err("refused");
    (error.kind(), error.to_string())
}

#[test]
fn tls_carries_records() {
    let Some(properties) = listener("tls_carries_records", "MILENA_SSL_BOOTSTRAP", "SSL") else { return };
    run(async {
        for versions in ["TLSv1.2", "TLSv1.3"] {
            let mut properties = properties.clone();
            properties.push(("ssl.enabled.protocols", versions.to_owned()));
            write_a_record(&properties).await.expect(versions);
        }
    });
}

#[test]
fn every_mechanism_is_let_in_with_and_without_tls() {
    let test = "every_mechanism_is_let_in_with_and_without_tls";
    for (variable, protocol) in
        [("MILENA_SASL_SSL_BOOTSTRAP", "SASL_SSL"), ("MILENA_SASL_PLAINTEXT_BOOTSTRAP", "SASL_PLAINTEXT")]
    {
        for mechanism in MECHANISMS {
            let Some(mut properties) = listener(test, variable, protocol) else { return };
            let Some(user) = good_user(test, mechanism) else { return };
            properties.extend(user);
            run(async {
                write_a_record(&properties).await.unwrap_or_else(|error| panic!("{protocol} {mechanism}: {error}"))
            });
        }
    }
}

#[test]
fn a_wrong_password_is_said_to_be_wrong() {
    let test = "a_wrong_password_is_said_to_be_wrong";
    let Some(properties) = listener(test, "MILENA_SASL_SSL_BOOTSTRAP", "SASL_SSL") else { return };
    run(async {
        for mechanism in MECHANISMS {
            for user in ["alice", "nobody"] {
                let mut properties = properties.clone();
                properties.extend(sasl(mechanism, user, "hunter2"));
                let (kind, text) = refusal(&properties).await;
                assert_eq!(kind, ErrorKind::Authentication, "{text}");
                assert!(text.contains(&format!("refused user `{user}` by {mechanism}")), "{text}");
                assert!(!text.contains("hunter2"), "{text}");
            }
        }
    });
}

#[test]
fn an_unknown_authority_is_not_trusted() {
    let test = "an_unknown_authority_is_not_trusted";
    let Some(properties) = listener(test, "MILENA_SSL_BOOTSTRAP", "SSL") else { return };
    run(async {
        let stranger = include_str!("../../src/security/testdata/other-ca.pem");
        let system = properties.iter().filter(|(name, _)| !name.starts_with("ssl.truststore")).cloned();
        let system: Properties = system.collect();
        let mut another = system.clone();
        another.push(("ssl.truststore.certificates", stranger.to_owned()));
        for properties in [system, another] {
            let (kind, text) = refusal(&properties).await;
            // A machine without any authority of its own is told so, before anything is sent.
            let none_at_all = kind == ErrorKind::Config && text.contains("no authority is known");
            assert!(none_at_all || kind == ErrorKind::Tls && text.contains("does not trust"), "{kind:?} {text}");
            assert!(text.contains("ssl.truststore.location"), "{text}");
        }
    });
}

/// The broker's port under another address, for which its certificate was not made.
async fn elsewhere(bootstrap: String) -> String {
    let listener = TcpListener::bind("127.0.0.2:0").await.expect("a second loopback address");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut broker = TcpStream::connect(&bootstrap).await.expect("the broker");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut broker).await });
        }
    });
    address
}

#[cfg(target_os = "linux")]
#[test]
fn a_certificate_of_another_host_is_not_accepted() {
    let test = "a_certificate_of_another_host_is_not_accepted";
    let Some(mut properties) = listener(test, "MILENA_SSL_BOOTSTRAP", "SSL") else { return };
    run(async {
        properties[0].1 = elsewhere(properties[0].1.clone()).await;
        let (kind, text) = refusal(&properties).await;
        assert_eq!(kind, ErrorKind::Tls, "{text}");
        assert!(text.contains("is not for `127.0.0.2`") && text.contains("localhost"), "{text}");
        properties.push(("ssl.endpoint.identification.algorithm", String::new()));
        connect(&properties).await.expect("any name was asked for");
    });
}

#[test]
fn the_wrong_protocol_is_named() {
    let test = "the_wrong_protocol_is_named";
    let table = [
        ("MILENA_SSL_BOOTSTRAP", "PLAINTEXT", ErrorKind::Protocol, "set `security.protocol` to SSL"),
        ("MILENA_BOOTSTRAP", "SSL", ErrorKind::Connect, "may speak no TLS"),
        ("MILENA_BOOTSTRAP", "SASL_PLAINTEXT", ErrorKind::Authentication, "takes no SASL here"),
    ];
    for (variable, protocol, kind, expected) in table {
        let Some(mut properties) = listener(test, variable, protocol) else { return };
        let Some(user) = good_user(test, "PLAIN") else { return };
        if protocol.starts_with("SASL") {
            properties.extend(user);
        }
        run(async {
            let (found, text) = refusal(&properties).await;
            assert_eq!(found, kind, "{protocol}: {text}");
            assert!(text.contains(expected), "{protocol}: {text}");
        });
    }
}

/// A listener with SASL hangs up on the first request of a client without it; nobody can tell that from a broker that
/// stops, so it must end within a bound and name the address.
#[test]
fn a_listener_that_wants_sasl_does_not_hang_a_client_without() {
    let test = "a_listener_that_wants_sasl_does_not_hang_a_client_without";
    let Some(properties) = listener(test, "MILENA_SASL_PLAINTEXT_BOOTSTRAP", "PLAINTEXT") else { return };
    run(async {
        let outcome = tokio::time::timeout(Duration::from_secs(60), connect(&properties)).await.expect("an end");
        let error = outcome.map(|_| ()).expect_err("refused");
        assert!(error.to_string().contains(&properties[0].1), "{error}");
        assert!(error.to_string().contains("may want SASL"), "{error}");
    });
}
