//! What properties promise, as tables; and `docs/config.md`, which is written out of the table of properties.

use std::time::Duration;

use super::{OffsetReset, Properties, table};
use crate::error::ErrorKind;

fn of(entries: &[(&str, &str)]) -> Properties {
    entries.iter().copied().collect()
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let table = [
        ("linger.sm", Some("linger.ms")),
        ("linger_ms", Some("linger.ms")),
        ("Bootstrap.Server", Some("bootstrap.servers")),
        ("ack", Some("acks")),
        ("compresion.type", Some("compression.type")),
        ("enable.idempotent", Some("enable.idempotence")),
        ("sasl.jaas.conf", Some("sasl.jaas.config")),
        ("x", None),
        ("colour.of.the.sky", None),
    ];
    for (name, suggestion) in table {
        let error = of(&[(name, "1")]).check().unwrap_err();
        let expected = match suggestion {
            Some(nearest) => format!("unknown property {name}, did you mean {nearest}?"),
            None => format!("unknown property {name}"),
        };
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Config, expected));
    }
}

#[test]
fn values_out_of_range_name_property_value_and_range() {
    let table = [
        ("acks", "2", r#"acks is "2", but has to be one of all, -1, 0, 1"#),
        ("batch.size", "-1", r#"batch.size is "-1", but has to be a number of bytes from 0 to 2147483647"#),
        (
            "linger.ms",
            "soon",
            r#"linger.ms is "soon", but has to be a number of milliseconds from 0 to 9223372036854775807"#,
        ),
        ("retries", "2147483648", r#"retries is "2147483648", but has to be a whole number from 0 to 2147483647"#),
        ("enable.idempotence", "yes", r#"enable.idempotence is "yes", but has to be true or false"#),
        (
            "compression.gzip.level",
            "10",
            r#"compression.gzip.level is "10", but has to be a whole number from -1 to 9"#,
        ),
        (
            "request.timeout.ms",
            "0",
            r#"request.timeout.ms is "0", but has to be a number of milliseconds from 1 to 2147483647"#,
        ),
    ];
    for (name, value, expected) in table {
        let error = of(&[(name, value)]).check().unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Config, expected.to_owned()));
    }
}

#[test]
fn what_cannot_be_fulfilled_is_refused_and_what_needs_nothing_is_noted() {
    let error = of(&[("transaction.two.phase.commit.enable", "true")]).check().unwrap_err();
    let expected =
        "transaction.two.phase.commit.enable cannot be used: two-phase commit is not stable in Kafka (KIP-939)";
    assert_eq!(error.to_string(), expected);
    assert!(of(&[("transaction.two.phase.commit.enable", "")]).check().is_ok());

    let properties = of(&[("key.serializer", "org.example.A"), ("acks", "all")]);
    assert!(properties.check().is_ok());
    assert_eq!(properties.notes(), ["key.serializer has no effect: serializers and deserializers are given in code"]);
}

#[test]
fn defaults_are_those_of_the_design() {
    let client = Properties::new().client().unwrap();
    assert_eq!(client.request_timeout, Duration::from_secs(30));
    assert_eq!(client.connection_setup_timeout, Duration::from_secs(10));
    let producer = Properties::new().producer().unwrap();
    assert_eq!((producer.acks, producer.enable_idempotence, producer.max_in_flight), (-1, true, 5));
    assert_eq!((producer.batch_size, producer.linger), (1_000_000, Duration::from_millis(5)));
    assert_eq!((producer.buffer_memory, producer.max_request_size), (32 << 20, 1 << 20));
    assert_eq!((producer.delivery_timeout, producer.retries), (Duration::from_secs(120), i32::MAX as u32));
    assert_eq!((producer.compression_type, producer.compression_level), ("none", None));
    let consumer = Properties::new().consumer().unwrap();
    assert_eq!((consumer.fetch_min_bytes, consumer.fetch_max_bytes), (1, 8 << 20));
    assert_eq!((consumer.max_partition_fetch_bytes, consumer.fetch_max_wait), (1 << 20, Duration::from_millis(500)));
    assert_eq!((consumer.check_crcs, consumer.read_committed), (true, false));
    assert_eq!(consumer.auto_offset_reset, OffsetReset::Latest);
}

#[test]
fn partitioners_have_librdkafkas_names_and_javas() {
    let class = |name: &str| format!("org.apache.kafka.clients.producer.{name}");
    let (robin, sticky) = (class("RoundRobinPartitioner"), class("UniformStickyPartitioner"));
    let old_default = class("internals.DefaultPartitioner");
    let ignore = ("partitioner.ignore.keys", "true");
    type Row<'a> = (Vec<(&'a str, &'a str)>, Result<&'a str, &'a str>);
    let table: Vec<Row<'_>> = vec![
        (vec![], Ok("default")),
        (vec![("partitioner", "consistent_random")], Ok("consistent_random")),
        (vec![("partitioner.class", &robin)], Ok("round_robin")),
        (vec![("partitioner.class", &sticky)], Ok("sticky")),
        (vec![("partitioner.class", &old_default)], Ok("default")),
        (vec![ignore], Ok("sticky")),
        (vec![ignore, ("partitioner", "fnv1a")], Ok("fnv1a")),
        (vec![("partitioner", "round_robin"), ("partitioner.class", &robin)], Ok("round_robin")),
        (vec![("partitioner", "random"), ("partitioner.class", &robin)], Err("partitioner is random, but")),
        (vec![("partitioner", "murmur3")], Err("partitioner is \"murmur3\", but has to be one of default, sticky")),
        (vec![("partitioner.class", "org.example.Own")], Err("partitioner.class is \"org.example.Own\"")),
    ];
    for (entries, expected) in table {
        match (of(&entries).producer(), expected) {
            (Ok(producer), Ok(name)) => assert_eq!(producer.partitioner, name, "{entries:?}"),
            (Err(error), Err(start)) => assert!(error.to_string().starts_with(start), "{error}"),
            (found, _) => panic!("{entries:?}: {found:?}"),
        }
    }
}

#[test]
fn a_rack_counts_for_partitions_only_where_that_is_asked_for() {
    let aware = ("partitioner.rack.aware", "true");
    let rack = |entries: &[(&str, &str)]| of(entries).producer().map(|producer| producer.partitioner_rack);
    assert_eq!(rack(&[("client.rack", "a")]).unwrap(), None);
    assert_eq!(rack(&[("client.rack", "a"), aware]).unwrap().as_deref(), Some("a"));
    assert_eq!(rack(&[aware]).unwrap_err().to_string(), "partitioner.rack.aware=true needs client.rack");
}

#[test]
fn idempotence_follows_javas_rules() {
    let on = ("enable.idempotence", "true");
    type Row<'a> = (&'a [(&'a str, &'a str)], Result<bool, &'a str>);
    let table: &[Row<'_>] = &[
        (&[("acks", "1")], Ok(false)),
        (&[("acks", "-1")], Ok(true)),
        (&[("retries", "0")], Ok(false)),
        (&[("enable.idempotence", "FALSE")], Ok(false)),
        (&[("enable.idempotence", "false"), ("max.in.flight.requests.per.connection", "9")], Ok(false)),
        (&[("acks", " all "), on], Ok(true)),
        (&[("acks", "1"), on], Err("enable.idempotence=true needs acks to be all, but acks is 1")),
        (&[("retries", "0"), on], Err("enable.idempotence=true needs retries to be above 0, but retries is 0")),
        (
            &[("max.in.flight.requests.per.connection", "6")],
            Err("enable.idempotence=true needs max.in.flight.requests.per.connection to be at most 5, but it is 6"),
        ),
    ];
    for (entries, expected) in table {
        let found =
            of(entries).producer().map(|producer| producer.enable_idempotence).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{entries:?}");
    }
}

#[test]
fn delivery_timeout_covers_linger_and_one_request() {
    let error = of(&[("delivery.timeout.ms", "30004")]).producer().unwrap_err();
    let expected =
        "delivery.timeout.ms is 30004, but has to be at least linger.ms + request.timeout.ms, which is 30005";
    assert_eq!(error.to_string(), expected);
    assert!(of(&[("delivery.timeout.ms", "30005")]).producer().is_ok());
    let raised = of(&[("request.timeout.ms", "200000")]).producer().unwrap();
    assert_eq!(raised.delivery_timeout, Duration::from_millis(200_005));
}

#[test]
fn values_are_trimmed_and_huge_durations_stay_addable_to_an_instant() {
    let properties =
        of(&[("batch.size", " 10 "), ("max.block.ms", "9223372036854775807"), ("compression.type", "zstd")]);
    let producer = properties.set("compression.zstd.level", "7").producer().unwrap();
    assert_eq!((producer.batch_size, producer.compression_level), (10, Some(7)));
    assert!(std::time::Instant::now().checked_add(producer.max_block).is_some());
    let setup_max = ("socket.connection.setup.timeout.max.ms", "700");
    let client = of(&[setup_max, ("retry.backoff.ms", "5000")]).client().unwrap();
    let expected = (Duration::from_millis(700), Duration::from_secs(1));
    assert_eq!((client.connection_setup_timeout, client.retry_backoff), expected);
}

#[test]
fn addresses_have_a_host_and_a_port() {
    let client = of(&[("bootstrap.servers", "a:1, [::1]:9092 ,,b.example:65535")]).client().unwrap();
    assert_eq!(client.bootstrap_servers, ["a:1", "[::1]:9092", "b.example:65535"]);
    for wrong in ["a", "a:", ":1", "a:0", "a:65536", "a:b"] {
        let error = of(&[("bootstrap.servers", wrong)]).client().unwrap_err();
        assert!(error.to_string().contains("an address is HOST:PORT"), "{wrong}: {error}");
    }
}

#[test]
fn no_secret_is_shown() {
    let properties = of(&[
        ("sasl.jaas.config", "hunter2"),
        ("basic.auth.user.info", "u:hunter2"),
        ("ssl.key.password", "hunter2"),
        ("sasl.jaas.confg", "hunter2"),
        ("acks", "all"),
    ]);
    let shown = format!("{properties:?} {}", properties.check().unwrap_err());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains(r#""acks": "all""#), "{shown}");
    let registry = of(&[("basic.auth.user.info", "u:hunter2")]).registry().unwrap();
    assert!(!format!("{registry:?}").contains("hunter2"));
    assert_eq!(registry.user_info.unwrap().expose(), "u:hunter2");
    let error = of(&[("basic.auth.user.info", "hunter2")]).registry().unwrap_err();
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn a_file_that_is_missing_or_wrong_is_named() {
    let error = Properties::load("/nowhere/a.properties").unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Io, "cannot read /nowhere/a.properties".to_owned()));
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn every_name_stands_once_and_every_default_is_in_its_range() {
    for (index, entry) in table::TABLE.iter().enumerate() {
        assert!(table::TABLE.iter().skip(index + 1).all(|other| other.name != entry.name), "{} twice", entry.name);
        let empty_is_fine = entry.default.is_empty();
        assert!(empty_is_fine || entry.kind.accepts(entry.default), "{}: {}", entry.name, entry.default);
    }
}

/// `MILENA_WRITE_DOCS=1 cargo test config_md` writes the table anew.
#[test]
fn config_md_lists_every_property() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
    let found = std::fs::read_to_string(path).expect("docs/config.md");
    let (before, rest) = found.split_once(BEGIN).expect("the begin mark in docs/config.md");
    let (_, after) = rest.split_once(END).expect("the end mark in docs/config.md");
    let expected = format!("{before}{BEGIN}\n{}{END}{after}", documentation());
    if std::env::var_os("MILENA_WRITE_DOCS").is_some() {
        return std::fs::write(path, &expected).expect("docs/config.md is written");
    }
    assert!(found == expected, "docs/config.md is not what the table says; MILENA_WRITE_DOCS=1 writes it anew");
}

const BEGIN: &str = "<!-- written from src/properties/table.rs: begin -->";
const END: &str = "<!-- written from src/properties/table.rs: end -->";

fn documentation() -> String {
    let mut text = String::new();
    let groups =
        [("K", "Every connection"), ("P", "Producer"), ("C", "Consumer"), ("R", "Schema Registry"), ("S", "Security")];
    for (letter, title) in groups {
        text.push_str(&format!(
            "\n## {title}\n\n| Java name | milena | Java | value | what, and why |\n|---|---|---|---|---|\n"
        ));
        let used = |entry: &&table::Entry| entry.clients.starts_with(letter) && entry.status == table::Status::Used;
        for entry in table::TABLE.iter().filter(used) {
            let (ours, java) = (shown(entry.default), shown(entry.java.unwrap_or(entry.default)));
            text.push_str(&format!(
                "| `{}` | {ours} | {java} | {} | {} |\n",
                entry.name,
                entry.kind.range(),
                entry.note
            ));
        }
    }
    text.push_str("\n## Accepted, without effect\n\n| Java name | why |\n|---|---|\n");
    for entry in table::TABLE {
        if let table::Status::Ignored(why) = entry.status {
            text.push_str(&format!("| `{}` | {why} |\n", entry.name));
        }
    }
    text.push_str("\n## Refused\n\n| Java name | why |\n|---|---|\n");
    for entry in table::TABLE {
        if let table::Status::Refused(why) = entry.status {
            text.push_str(&format!("| `{}` | {why} |\n", entry.name));
        }
    }
    text.push('\n');
    text
}

fn shown(default: &str) -> String {
    if default.is_empty() { "(none)".to_owned() } else { format!("`{default}`") }
}

#[test]
fn a_file_in_latin_1_is_read_as_java_reads_it() {
    let path = std::env::temp_dir().join(format!("milena-latin-1-{}.properties", std::process::id()));
    std::fs::write(&path, b"client.id=caf\xe9\n").expect("written");
    let read = Properties::load(&path);
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(read.expect("it can be read").value("client.id"), Some("café"));
}
