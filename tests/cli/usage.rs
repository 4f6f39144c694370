//! What every command does with its flags and properties, and with brokers that are not there.

use super::*;

#[test]
fn wrong_usage_is_exit_code_2() {
    let table: &[&[&str]] = &[
        &[],
        &["teleport"],
        &["produce"],
        &["produce", "-t", "x"],
        &["consume", "-b", "127.0.0.1:1"],
        &["consume", "-b", "127.0.0.1:1", "-t", "x", "-o", "middle"],
        &["consume", "-b", "127.0.0.1:1", "-t", "x", "-c", "some"],
        &["produce", "-b", "127.0.0.1:1", "-t", "x", "-K", ""],
        &["produce", "-b", "127.0.0.1:1", "-t", "x", "-X", "linger.ms"],
        &["produce", "-b", "127.0.0.1:1", "-t", ""],
        &["consume", "-b", "127.0.0.1:1", "-t", ""],
        &["demo", "-t", ""],
        &["demo", "--records", "0"],
        &["demo", "--registry", "http://127.0.0.1:1"],
        &["demo", "--bootstrap", "127.0.0.1:1"],
        &["verifiable-producer", "--bootstrap-server", "127.0.0.1:1", "--topic", "x", "--abort-every", "2"],
        &["transactional-copier", "--broker-list", "127.0.0.1:1", "--input-topic", "x", "--output-topic", "y"],
        &["perf"],
        &["perf", "produce", "-t", "x"],
        &["perf", "produce", "-b", "127.0.0.1:1", "-t", "x", "--payload", "zeros"],
        &["perf", "latency", "-b", "127.0.0.1:1", "-t", "x", "--rate", "0"],
        &["perf", "await", "-b", "127.0.0.1:1", "-t", "x", "--tasks", "0"],
        &["broker", "--brokers", "0"],
        &["broker", "--topic", "orders"],
        &["broker", "--topic", "orders:many"],
        &["broker", "--retention-bytes", "0"],
        &["broker", "--kafka", "1.0"],
        &["broker", "--sasl-user", "alice"],
        &["broker", "--tls-key", "key.pem"],
    ];
    for arguments in table {
        let output = run(arguments, b"");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    for (arguments, expected) in [(["-c", "-1"], "a number of records from 0"), (["-o", "-1"], "an offset from 0")] {
        let output = run(&[&["consume", "-b", "127.0.0.1:1", "-t", "x"], &arguments[..]].concat(), b"");
        assert!(output.status.code() == Some(2) && text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    for arguments in [&["--help"][..], &["--version"], &["demo", "--help"]] {
        assert!(run(arguments, b"").status.success());
    }
}

#[test]
fn configuration_errors_are_one_line_that_helps() {
    let file = std::env::temp_dir().join(format!("milena-cli-{}.properties", std::process::id()));
    std::fs::write(&file, "# a comment\nlinger.ms = 7\nacks=\\u00g0\n").unwrap();
    let file = file.to_str().unwrap();
    let table: &[(&[&str], &str)] = &[
        (&["-X", "lingre.ms=5"], "unknown property lingre.ms, did you mean linger.ms?"),
        (&["-X", "linger.ms=soon"], "linger.ms is \"soon\", but has to be a number of milliseconds from 0 to"),
        (
            &["-X", "interceptor.classes=a"],
            "interceptor.classes cannot be used: names Java classes, which milena cannot load; ProducerBuilder::interceptor",
        ),
        (&["--properties", "/nowhere/client.properties"], "cannot read /nowhere/client.properties: "),
        (&["--properties", file], ".properties: line 3: "),
        (&["-b", "localhost"], "an address is HOST:PORT"),
    ];
    for (arguments, expected) in table {
        let mut all = vec!["consume", "-t", "x"];
        if !arguments.contains(&"-b") {
            all.extend(["-b", "127.0.0.1:1"]);
        }
        all.extend(*arguments);
        assert_one_line_error(&run(&all, b""), expected);
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn properties_come_from_a_file_and_the_command_line_wins() {
    let broker = Broker::start(&[]);
    let file = std::env::temp_dir().join(format!("milena-cli-file-{}.properties", std::process::id()));
    let lines =
        format!("bootstrap.servers={}\ncompression.type=paper\nkey.serializer=org.example.A\n", broker.bootstrap);
    std::fs::write(&file, lines).unwrap();
    let path = file.to_str().unwrap();
    let produced = run(&["produce", "-t", "file", "--properties", path, "-X", "compression.type=snappy"], b"x\n");
    let stderr = text(&produced.stderr);
    assert!(produced.status.success(), "{stderr}");
    assert!(stderr.contains("note: key.serializer has no effect"), "{stderr}");
    assert_eq!(broker.consume_text("file", &["-e"]), "x\n");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn no_broker_is_one_line_within_the_bound() {
    let closed = free_port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    for address in [closed.as_str(), silent_address.as_str()] {
        for command in ["produce", "consume"] {
            let begun = Instant::now();
            let bound =
                ["-X", "socket.connection.setup.timeout.ms=1000", "-X", "socket.connection.setup.timeout.max.ms=1000"];
            let mut arguments = vec![command, "-b", address, "-t", "x"];
            arguments.extend(bound);
            assert_one_line_error(&run(&arguments, b"x\n"), address);
            assert!(begun.elapsed() < Duration::from_secs(20), "{command} {address}: {:?}", begun.elapsed());
        }
    }
    assert_one_line_error(&run(&["demo", "--bootstrap", &closed, "--registry", "http://127.0.0.1:1"], b""), &closed);
}

#[test]
fn an_unknown_topic_is_one_line() {
    let broker = Broker::start(&[]);
    let output = broker.consume("nothing-here", &["-e", "-X", "default.api.timeout.ms=500"]);
    assert_one_line_error(&output, "nothing-here");
}
