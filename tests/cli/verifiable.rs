//! `milena verifiable-producer` and `-consumer`: the flags and the lines of Kafka's own.

use super::*;

#[test]
fn the_verifiable_pair_speaks_the_lines_of_kafkas_own() {
    // The producer makes the topic.
    let broker = Broker::start(&[]);
    let flags = ["--bootstrap-server", &broker.bootstrap, "--topic", "verified"];
    let producer = ["--max-messages", "3", "--repeating-keys", "2", "--value-prefix", "7"];
    let produced = run(&[&["verifiable-producer"], &flags[..], &producer].concat(), b"");
    assert!(produced.status.success(), "{}", text(&produced.stderr));
    let mut lines = json_lines(&produced.stdout);
    let totals = lines.pop().expect("totals");
    assert_eq!((&totals["name"], &totals["sent"], &totals["acked"]), (&"tool_data".into(), &3.into(), &3.into()));
    let named = |line: &serde_json::Value| line["name"].as_str().unwrap_or_default().to_owned();
    assert_eq!((named(&lines[0]), named(&lines[4])), ("startup_complete".into(), "shutdown_complete".into()));
    for (number, line) in lines[1..4].iter().enumerate() {
        let key = (number % 2).to_string();
        let expected = serde_json::json!({
            "timestamp": line["timestamp"], "name": "producer_send_success", "key": key, "value": format!("7.{number}"),
            "offset": number, "topic": "verified", "partition": 0,
        });
        assert_eq!(line, &expected);
    }

    let consumer = ["--verbose", "--max-messages", "3", "--group-id", "g"];
    let consumed = run(&[&["verifiable-consumer"], &flags[..], &consumer].concat(), b"");
    assert!(consumed.status.success() && text(&consumed.stderr).contains("without effect"));
    let lines = json_lines(&consumed.stdout);
    let values: Vec<_> = lines.iter().filter(|line| named(line) == "record_data").map(|line| &line["value"]).collect();
    assert_eq!(values, ["7.0", "7.1", "7.2"]);
    let read = lines.iter().filter(|line| named(line) == "records_consumed").filter_map(|line| line["count"].as_u64());
    assert_eq!(read.sum::<u64>(), 3);
    assert_eq!(lines[1]["partitions"], serde_json::json!([{"topic": "verified", "partition": 0}]));
    assert_eq!(lines.last().map(named), Some("shutdown_complete".into()));
}

#[test]
fn a_signal_ends_the_verifiable_producer_with_every_record_accounted_for() {
    let broker = Broker::start(&[]);
    broker.produce("endless", &[], b"");
    let flags = ["verifiable-producer", "--bootstrap-server", &broker.bootstrap, "--topic", "endless"];
    let mut running = spawn(&[&flags[..], &["--throughput", "500"]].concat(), Stdio::null());
    let mut lines = BufReader::new(running.stdout.take().unwrap());
    let mut first: Vec<String> = (0..20).map(|_| next_line(&mut lines)).collect();
    terminate(&running);
    let mut rest = Vec::new();
    lines.read_to_end(&mut rest).unwrap();
    assert!(finish(running).status.success());
    first.extend(text(&rest).lines().map(str::to_owned));
    let all = json_lines(first.join("\n").as_bytes());
    let offsets: Vec<_> = all.iter().filter_map(|line| line["offset"].as_i64()).collect();
    assert!(offsets.is_sorted(), "a partition's records are told in their order: {offsets:?}");
    let told = all.iter().filter(|line| line["name"] == "producer_send_success").count();
    let totals = all.last().expect("totals");
    assert_eq!((totals["sent"].as_u64(), totals["acked"].as_u64()), (Some(told as u64), Some(told as u64)));
}

#[test]
fn transactions_acknowledge_what_is_committed_and_nothing_else() {
    let broker = Broker::start(&[]);
    let flags = ["verifiable-producer", "--bootstrap-server", &broker.bootstrap, "--topic", "ledger"];
    let transactions = ["--transactional-id", "clerk", "--transaction-size", "5", "--abort-every", "3"];
    let output = run(&[&flags[..], &transactions, &["--max-messages", "23", "--value-prefix", "1"]].concat(), b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = json_lines(&output.stdout);
    let told = |name: &str| -> Vec<String> {
        let lines = lines.iter().filter(|line| line["name"] == name);
        lines.map(|line| line["value"].as_str().unwrap().to_owned()).collect()
    };
    // The third transaction has the numbers 10 to 14, and the fifth is cut short.
    let expected = |numbers: &mut dyn Iterator<Item = u32>| numbers.map(|n| format!("1.{n}")).collect::<Vec<_>>();
    assert_eq!(told("producer_send_error"), expected(&mut (10..15)));
    let committed = expected(&mut (0..10).chain(15..23));
    assert_eq!(told("producer_send_success"), committed);
    assert_eq!(lines.last().unwrap()["acked"], 18);
    let names = ["sent", "transactions_committed", "transactions_aborted"];
    assert_eq!(names.map(|name| lines.last().unwrap()[name].as_u64()), [Some(23), Some(4), Some(1)]);
    let read = |level: &str| broker.consume_text("ledger", &["-e", "-X", &format!("isolation.level={level}")]);
    assert_eq!(read("read_committed").lines().collect::<Vec<_>>(), committed);
    // What was not on the wire yet when the transaction was aborted never goes there.
    assert!((18..=23).contains(&read("read_uncommitted").lines().count()));
}

/// A producer whose only transaction is open, with records in it.
fn in_the_middle(broker: &Broker, topic: &str, id: &str) -> Child {
    let flags =
        ["verifiable-producer", "--bootstrap-server", &broker.bootstrap, "--topic", topic, "--throughput", "200"];
    let running =
        spawn(&[&flags[..], &["--transactional-id", id, "--transaction-size", "1000000"]].concat(), Stdio::null());
    assert_eq!(broker.consume_text(topic, &["-c", "5", "-X", "isolation.level=read_uncommitted"]).lines().count(), 5);
    running
}

#[test]
fn a_signal_commits_the_open_transaction() {
    let broker = Broker::start(&[]);
    broker.produce("open", &[], b"");
    let running = in_the_middle(&broker, "open", "clerk");
    terminate(&running);
    let output = finish(running);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = json_lines(&output.stdout);
    let told = lines.iter().filter(|line| line["name"] == "producer_send_success").count();
    let totals = lines.last().unwrap();
    assert!(told >= 5 && totals["sent"] == told && totals["acked"] == told && totals["transactions_committed"] == 1);
    let read = broker.consume_text("open", &["-e", "-X", "isolation.level=read_committed"]);
    assert_eq!(read.lines().count(), told);
}

#[test]
fn a_fenced_producer_says_that_nothing_of_its_transaction_counts() {
    let broker = Broker::start(&[]);
    broker.produce("taken-over", &[], b"");
    let old = in_the_middle(&broker, "taken-over", "clerk");
    let flags = ["verifiable-producer", "--bootstrap-server", &broker.bootstrap, "--topic", "taken-over"];
    let newer = run(&[&flags[..], &["--transactional-id", "clerk", "--max-messages", "2"]].concat(), b"");
    assert!(newer.status.success(), "{}", text(&newer.stderr));
    let output = finish(old);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let lines = json_lines(&output.stdout);
    let named = |name: &str| lines.iter().filter(|line| line["name"] == name).count();
    assert_eq!((named("producer_send_success"), named("tool_data")), (0, 1));
    assert!(named("producer_send_error") >= 5 && lines.last().unwrap()["acked"] == 0);
    assert_eq!(broker.consume_text("taken-over", &["-e", "-X", "isolation.level=read_committed"]).lines().count(), 2);
}

/// Runs a copier of the group until it is at the end: how many records it copied, in how many attempts.
fn copy(broker: &Broker, first: &str, more: &[&str]) -> [u64; 2] {
    let flags = ["transactional-copier", "--broker-list", &broker.bootstrap, "--input-topic", "from", "--output-topic"];
    let flags =
        [&flags[..], &["to", "--consumer-group", "copiers", "--transactional-id", first, "--input-partition", first]];
    let more = [&["--transaction-size", "3", "--use-group-metadata", "--enable-random-aborts"][..], more];
    let output = run(&[flags.concat(), more.concat()].concat(), b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = json_lines(&output.stdout);
    assert!(lines[0]["progress"] == first && lines[0]["stage"] == "ProcessLoop", "{}", lines[0]);
    let last = lines.last().unwrap();
    assert_eq!((&last["shutdown_complete"], &last["consumed"]), (&first.into(), &last["totalProcessed"]));
    assert_eq!(last["remaining"], 0);
    // A line for each attempt, one that finds nothing more to do, and the last.
    [last["totalProcessed"].as_u64().unwrap(), lines.len() as u64 - 2]
}

#[test]
fn the_copier_copies_every_record_once_and_goes_on_where_its_group_is() {
    let broker = Broker::start(&["--topic", "from:3", "--topic", "to:2"]);
    let input = |numbers: std::ops::Range<u32>| numbers.map(|n| format!("key{}={n}\n", n % 17)).collect::<String>();
    assert!(broker.produce("from", &["-K", "="], input(0..200).as_bytes()).status.success());
    assert_eq!(copy(&broker, "0", &["--partition-step", "2", "--max-messages", "10"])[0], 10);
    let both = || ["0", "1"].map(|first| copy(&broker, first, &["--partition-step", "2"]));
    let copied = |both: [[u64; 2]; 2]| both[0][0] + both[1][0];
    let all = both();
    assert_eq!((copied(all), copied(both())), (190, 0));
    assert!(all[0][1] + all[1][1] > 190 / 3 + 2, "of more than 63 transactions one in three is aborted: {all:?}");
    assert!(broker.produce("from", &["-K", "="], input(200..230).as_bytes()).status.success());
    assert_eq!((copied(both()), copied(both())), (30, 0));
    let committed = broker.consume_text("to", &["-e", "-K", "=", "-X", "isolation.level=read_committed"]);
    let mut sorted: Vec<_> = committed.lines().collect();
    sorted.sort_by_key(|line| line.split_once('=').unwrap().1.parse::<u64>().unwrap());
    assert!(sorted.iter().copied().eq(input(0..230).lines()), "everything, once: {committed}");
    for key in 0..17 {
        let prefix = format!("key{key}=");
        let numbers: Vec<u64> = committed.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect();
        assert!(numbers.is_sorted(), "key{key}: {numbers:?}");
    }
}

#[test]
fn a_signal_ends_the_verifiable_consumer_with_its_last_lines() {
    let broker = Broker::start(&[]);
    broker.produce("watched", &[], b"a\nb\n");
    let flags = ["verifiable-consumer", "--bootstrap-server", &broker.bootstrap, "--topic", "watched", "--verbose"];
    let mut running = spawn(&flags, Stdio::null());
    let mut lines = BufReader::new(running.stdout.take().unwrap());
    while !next_line(&mut lines).contains("records_consumed") {}
    terminate(&running);
    let mut rest = Vec::new();
    lines.read_to_end(&mut rest).unwrap();
    assert!(finish(running).status.success());
    assert_eq!(json_lines(&rest).last().map(|line| line["name"] == "shutdown_complete"), Some(true), "{}", text(&rest));
}

/// Whoever was made to drive Kafka's tools gives any of these.
#[test]
fn the_verifiable_pair_takes_every_flag_of_kafkas_own() {
    let broker = Broker::start(&[]);
    let config = std::env::temp_dir().join(format!("milena-{}.properties", std::process::id()));
    std::fs::write(&config, "client.id=flags\n").unwrap();
    let flags = ["--topic", "flags", "--bootstrap-server", &broker.bootstrap];
    let config = ["--command-config", config.to_str().unwrap()];
    let producer = ["--max-messages", "2", "--throughput", "-1", "--acks", "-1", "--message-create-time", "1000"];
    let more = ["--value-prefix", "1", "--repeating-keys", "1"];
    let produced = run(&[&["verifiable-producer"], &flags[..], &config, &producer, &more].concat(), b"");
    assert!(produced.status.success(), "{}", text(&produced.stderr));
    let consumer = ["--max-messages", "2", "--verbose", "--reset-policy", "earliest", "--enable-autocommit"];
    let group = ["--group-id", "g", "--group-protocol", "consumer", "--group-instance-id", "i"];
    let more = ["--group-remote-assignor", "uniform", "--session-timeout", "6000", "--assignment-strategy", "Any"];
    let consumed = run(&[&["verifiable-consumer"], &flags[..], &config, &consumer, &group, &more].concat(), b"");
    assert!(consumed.status.success(), "{}", text(&consumed.stderr));
    // Nothing is committed anywhere yet, so this ends as Kafka's own does without a committed offset.
    let none = run(&[&["verifiable-consumer"], &flags[..], &["--reset-policy", "none"]].concat(), b"");
    assert_one_line_error(&none, "--reset-policy");
}
