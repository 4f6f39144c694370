//! `milena broker`: what it says of itself, and what it pretends to be.

use super::*;

#[test]
fn the_broker_says_ready_once_and_ends_at_a_signal() {
    let mut broker = Broker::start(&[]);
    assert!(broker.registry.starts_with("http://127.0.0.1:"), "{}", broker.registry);
    let taken = run(&["broker", "--listen", &broker.bootstrap, "--registry-listen", "127.0.0.1:0"], b"");
    assert_one_line_error(&taken, &broker.bootstrap);
    terminate(&broker.child);
    assert!(wait(&mut broker.child).success());
}

#[test]
fn a_cluster_has_as_many_brokers_and_topics_as_were_asked_for() {
    let cluster = Broker::start(&["--brokers", "3", "--topic", "orders:6", "--topic", "invoices:1"]);
    assert_eq!(cluster.bootstrap.split(',').count(), 3, "{}", cluster.bootstrap);
    let input: String = (0..60).map(|number| format!("{number}:x\n")).collect();
    for topic in ["orders", "invoices"] {
        let produced = cluster.produce(topic, &["-K", ":"], input.as_bytes());
        assert_eq!(text(&produced.stderr), "60 acknowledged, 0 failed\n", "{topic} was there");
        // Every broker leads two partitions of one topic; any address is good for a beginning.
        let last = cluster.bootstrap.rsplit(',').next().unwrap();
        let read = run(&["consume", "-b", last, "-t", topic, "-e"], b"");
        assert_eq!(text(&read.stdout).lines().count(), 60);
    }
}

#[test]
fn a_broker_keeps_no_more_than_it_is_allowed() {
    let broker = Broker::start(&["--retention-bytes", "1000000", "--topic", "logs:1"]);
    let input = format!("{}\n", "x".repeat(999)).repeat(5000);
    assert!(broker.produce("logs", &["-X", "batch.size=50000"], input.as_bytes()).status.success());
    let kept = broker.consume_text("logs", &["-o", "beginning", "-e"]).lines().count();
    assert!((500..1000).contains(&kept), "{kept}");
}

#[test]
fn a_broker_lets_only_its_users_in() {
    let broker = Broker::start(&["--sasl-user", "alice:alice-secret", "--sasl-user", "bob:with:colon"]);
    let login = |mechanism: &str, module: &str, name: &str, password: &str| {
        let jaas = format!("{module} required username=\"{name}\" password=\"{password}\";");
        [format!("sasl.mechanism={mechanism}"), format!("sasl.jaas.config={jaas}")]
    };
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
    let table = [
        (login("PLAIN", plain, "alice", "alice-secret"), true),
        (login("SCRAM-SHA-512", scram, "bob", "with:colon"), true),
        (login("SCRAM-SHA-256", scram, "alice", "wrong"), false),
    ];
    for ([mechanism, jaas], expected) in table {
        let more = ["-X", "security.protocol=SASL_PLAINTEXT", "-X", &mechanism, "-X", &jaas];
        let produced = broker.produce("secret", &more, b"x\n");
        assert_eq!(produced.status.success(), expected, "{mechanism}: {}", text(&produced.stderr));
    }
}

#[test]
fn a_broker_pretends_to_be_an_older_release() {
    for release in ["2.1", "2.8", "3.9"] {
        let broker = Broker::start(&["--kafka", release]);
        assert!(broker.produce("old", &[], b"x\n").status.success(), "{release}");
        assert_eq!(broker.consume_text("old", &["-e"]), "x\n", "{release}");
    }
}

#[test]
fn a_topic_that_cannot_be_is_an_error_of_the_broker() {
    for (topic, expected) in [("b/d:1", "b/d"), ("orders:0", "orders")] {
        let output =
            run(&["broker", "--listen", "127.0.0.1:0", "--registry-listen", "127.0.0.1:0", "--topic", topic], b"");
        assert_one_line_error(&output, expected);
    }
}
