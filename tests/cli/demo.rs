//! `milena demo`: against its own broker, and against servers of ones own.

use super::*;

#[test]
fn the_demo_checks_every_record_and_ends_in_json() {
    let output = run(&["demo", "--records", "20000"], b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "no progress bar where nobody looks: {}", text(&output.stderr));
    assert_demo_json(&output, 20_000);
    assert!(text(&output.stdout).contains("--bootstrap HOST:PORT --registry URL"));
    // As `cargo demo -- --records 2000` passes it on.
    assert_demo_json(&run(&["demo", "--", "--records", "2000"], b""), 2_000);
}

#[test]
fn the_demo_runs_against_a_cluster_of_ones_own_and_again_in_the_same_topic() {
    let broker = Broker::start(&[]);
    let arguments = ["demo", "--bootstrap", &broker.bootstrap, "--registry", &broker.registry, "--records", "3000"];
    assert_demo_json(&run(&arguments, b""), 3000);
    for _ in 0..2 {
        let with_topic = [&arguments[..], &["--topic", "kept", "--keep"]].concat();
        assert_demo_json(&run(&with_topic, b""), 3000);
    }
    let kept = broker.consume("kept", &["-c", "6000"]);
    assert!(kept.status.success());
}

#[test]
fn the_demo_deletes_only_the_topic_with_its_own_random_name() {
    let broker = Broker::start(&[]);
    let demo = ["demo", "--bootstrap", &broker.bootstrap, "--registry", &broker.registry, "--records", "100"];
    // One of its own is gone, one that it was given stays although the demo made it.
    let table: &[(&[&str], bool)] = &[(&[], false), (&["-t", "given"], true), (&["--keep"], true)];
    for (more, kept) in table {
        let output = run(&[&demo[..], more].concat(), b"");
        assert_demo_json(&output, 100);
        let stdout = text(&output.stdout);
        let row = stdout.lines().find_map(|line| line.strip_prefix("topic ")).unwrap();
        let (topic, _) = row.trim_start().split_once(':').unwrap();
        let read = broker.consume(topic, &["-c", "100", "-X", "default.api.timeout.ms=500"]);
        assert_eq!(read.status.success(), *kept, "{more:?} {topic}: {}", text(&read.stderr));
        assert!(!kept || subjects(&broker.registry).contains(&format!("\"{topic}-value\"")), "{more:?}");
    }
}

#[test]
fn a_registry_that_is_not_there_is_one_line_of_the_demo() {
    let broker = Broker::start(&[]);
    let closed = free_port();
    let registry = format!("http://{closed}");
    let output = run(&["demo", "--bootstrap", &broker.bootstrap, "--registry", &registry, "-n", "10"], b"");
    assert_one_line_error(&output, &closed);
}

/// On a real broker and registry, whose address has a path: the whole demo, and again with the broker killed half-way.
#[test]
fn live_demo_finishes_although_the_broker_is_killed() {
    let Some([bootstrap, registry, control]) = live("live_demo_finishes_although_the_broker_is_killed") else { return };
    let demo = ["demo", "--bootstrap", &bootstrap, "--registry", &registry, "--records"];
    assert_demo_json(&run(&[&demo[..], &["20000"]].concat(), b""), 20_000);

    let topic = format!("killed-{}", std::process::id());
    let mut running = spawn(&[&demo[..], &["200000", "--keep", "--topic", &topic]].concat(), Stdio::null());
    // It is half-way when others can read some of it.
    let some = || run(&["consume", "-b", &bootstrap, "-t", &topic, "-c", "20000"], b"");
    let deadline = Instant::now() + PATIENCE;
    while !some().status.success() {
        assert!(Instant::now() < deadline, "the demo does not get anywhere");
    }
    assert!(running.try_wait().unwrap().is_none(), "killing the broker now would prove nothing");
    for command in ["kill", "start"] {
        assert!(Command::new(&control).arg(command).status().unwrap().success(), "{control} {command}");
    }
    assert_demo_json(&finish(running), 200_000);
}

/// What `compose/with-kafka` exports. Without it the test says so and passes over, except in CI.
fn live(test: &str) -> Option<[String; 3]> {
    let how = "compose/with-kafka cargo test --workspace --features full";
    let variable = |name| std::env::var(name).ok();
    let names = ["MILENA_BOOTSTRAP", "MILENA_REGISTRY_URL", "MILENA_BROKER_CTL"];
    let [Some(bootstrap), Some(registry), Some(control)] = names.map(variable) else {
        assert!(std::env::var_os("CI").is_none(), "{test}: {names:?} are not set, and in CI it has to run: {how}");
        // To the terminal even when the harness captures what passing tests print.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: no live server ({names:?} are not set). To run it: {how}");
        return None;
    };
    Some([bootstrap, registry, control])
}

/// What the registry answers about its subjects: JSON.
fn subjects(registry: &str) -> String {
    let address = registry.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /subjects HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let answer = text(&read_all(Some(stream)));
    answer.split_once("\r\n\r\n").unwrap().1.trim().to_owned()
}

fn assert_demo_json(output: &Output, records: u64) {
    assert!(output.status.success(), "{} {}", text(&output.stdout), text(&output.stderr));
    let line = last_line(&output.stdout);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec!["records", "acked", "consumed", "lost", "duplicated", "reordered", "unequal"];
    expected.extend(["wall_s", "cpu_s", "wire_bytes", "raw_bytes"]);
    expected.sort_unstable();
    assert_eq!(names, expected, "{line}");
    for (name, value) in [("records", records), ("acked", records), ("consumed", records)] {
        assert_eq!(json[name], value, "{line}");
    }
    for name in ["lost", "duplicated", "reordered", "unequal"] {
        assert_eq!(json[name], 0, "{line}");
    }
    let (wire, raw) = (json["wire_bytes"].as_u64().unwrap(), json["raw_bytes"].as_u64().unwrap());
    assert!(0 < wire && wire < raw && raw > records * 100, "snappy makes it smaller: {line}");
    assert!(json["wall_s"].as_f64().unwrap() > 0.0, "{line}");
}
