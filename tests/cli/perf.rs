//! `milena perf`: its figures, and that there are none for what was lost.

use super::*;

#[test]
fn perf_measures_what_the_broker_then_has() {
    let broker = Broker::start(&[]);
    let latency = ["p50_us", "p99_us", "p999_us", "max_us"];
    let table: &[(&[&str], u64, &[&str])] = &[
        (&["produce", "--count", "3000", "--partitions", "6"], 3000, &[]),
        (
            &["produce", "--count", "2000", "--size", "10", "--key-size", "8", "--codec", "lz4", "--threads", "2"],
            2000,
            &[],
        ),
        (&["produce", "--count", "500", "--acks", "0", "--batch", "16384", "--payload", "constant"], 500, &[]),
        (&["produce", "--count", "0"], 0, &[]),
        (&["latency", "--rate", "500", "--secs", "1", "--linger", "0"], 500, &latency),
        (&["await", "--tasks", "7", "--count", "300", "--linger", "0", "--acks", "1"], 300, &latency),
    ];
    for (number, (arguments, records, more)) in table.iter().enumerate() {
        let topic = format!("perf{number}");
        let flags = ["--brokers", &broker.bootstrap, "--topic", &topic, "--delete"];
        let output = run(&[&["perf"], *arguments, &flags[..]].concat(), b"");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let json = assert_perf_json(&output, more);
        assert_eq!(json["records"], *records, "{arguments:?}: {json}");
        // Before it measures, `latency` sends one record.
        let there = records + u64::from(arguments[0] == "latency");
        let made = format!("milena: note: topic {topic} was not there; it has been made\n");
        let deleted = format!("milena: note: topic {topic} had {there} records; it is deleted\n");
        assert_eq!(text(&output.stderr), made + &deleted, "{arguments:?}");
    }
}

fn assert_perf_json(output: &Output, more: &[&str]) -> serde_json::Value {
    let line = last_line(&output.stdout);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected =
        vec!["records", "wall_s", "start_us", "setup_cpu_s", "cpu_s", "records_s", "mb_s", "peak_rss_mb"];
    expected.extend(more);
    expected.sort_unstable();
    assert_eq!(names, expected, "{line}");
    #[cfg(target_os = "linux")]
    for name in ["wall_s", "start_us", "setup_cpu_s", "cpu_s", "peak_rss_mb"] {
        assert!(json[name].as_f64().unwrap() > 0.0, "{line}");
    }
    let times: Vec<f64> = more.iter().map(|name| json[name].as_f64().unwrap()).collect();
    assert!(times.is_sorted() && times.iter().all(|time| *time > 0.0), "{line}");
    json
}

#[test]
fn perf_fails_when_a_record_does() {
    let mut broker = Broker::start(&[]);
    let flags = ["--brokers", &broker.bootstrap, "--topic", "lost"];
    assert!(run(&[&["perf", "produce", "--count", "0"], &flags[..]].concat(), b"").status.success());
    let large = run(&[&["perf", "produce", "--size", "9000", "-X", "max.request.size=8000"], &flags[..]].concat(), b"");
    assert_one_line_error(&large, "max.request.size");
    let other = run(&[&["perf", "produce", "--partitions", "9"], &flags[..]].concat(), b"");
    assert_one_line_error(&other, "topic lost has 1 partitions, not 9");

    // The broker dies in the middle: what was on its way is not acknowledged, and no figures come of it.
    let steady = ["perf", "latency", "--secs", "600", "--rate", "200"];
    let short = ["-X", "delivery.timeout.ms=5000", "-X", "request.timeout.ms=2000"];
    let measuring = spawn(&[&steady, &short[..], &flags].concat(), Stdio::null());
    assert!(run(&["consume", "-b", &broker.bootstrap, "-t", "lost", "-c", "1"], b"").status.success());
    broker.child.kill().unwrap();
    let output = finish(measuring);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
}
