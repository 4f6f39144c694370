//! `milena produce` and `milena consume`: lines in, lines out.

use super::*;

#[test]
fn lines_go_in_and_come_out_unchanged() {
    let broker = Broker::start(&[]);
    let input = b"first\n\n\ttabs and \xff\xfe bytes\0\r\nlast without an end";
    let produced = broker.produce("lines", &[], input);
    assert_eq!(last_line(&produced.stderr), "4 acknowledged, 0 failed");
    assert!(produced.status.success() && produced.stdout.is_empty());

    let consumed = broker.consume("lines", &["-e"]);
    assert_eq!(consumed.stdout, b"first\n\n\ttabs and \xff\xfe bytes\0\r\nlast without an end\n");
    assert!(consumed.status.success() && consumed.stderr.is_empty());
}

#[test]
fn empty_input_is_no_record() {
    let broker = Broker::start(&[]);
    let produced = broker.produce("empty", &[], b"");
    assert_eq!(last_line(&produced.stderr), "0 acknowledged, 0 failed");
    let consumed = broker.consume("empty", &["-e"]);
    assert!(consumed.status.success() && consumed.stdout.is_empty());
}

#[test]
fn keys_are_split_off_and_printed() {
    let broker = Broker::start(&[]);
    assert!(broker.produce("keys", &["-K", ":"], b"a:1\nb:2:3\nno key\n:empty key\n").status.success());
    assert_eq!(broker.consume_text("keys", &["-e"]), "1\n2:3\nno key\nempty key\n");
    assert_eq!(broker.consume_text("keys", &["-e", "-K", "\\t"]), "a\t1\nb\t2:3\n\tno key\n\tempty key\n");
}

#[test]
fn offset_count_and_exit_say_what_is_read() {
    let broker = Broker::start(&[]);
    assert!(broker.produce("numbers", &[], b"0\n1\n2\n3\n4\n").status.success());
    let table: &[(&[&str], &str)] = &[
        (&["-o", "beginning", "-e"], "0\n1\n2\n3\n4\n"),
        (&["-o", "3", "-e"], "3\n4\n"),
        (&["-o", "3", "-c", "1"], "3\n"),
        (&["-c", "2"], "0\n1\n"),
        (&["-c", "0"], ""),
        (&["-o", "end", "-e"], ""),
        (&["-o", "5", "-e"], ""),
        (&["-o", "1000", "-e"], ""),
        (&["-c", "99", "-e"], "0\n1\n2\n3\n4\n"),
    ];
    for (arguments, expected) in table {
        assert_eq!(&broker.consume_text("numbers", arguments), expected, "{arguments:?}");
    }
}

#[test]
fn an_offset_that_a_partition_does_not_have_is_what_auto_offset_reset_says() {
    let broker = Broker::start(&[]);
    assert!(broker.produce("short", &[], b"0\n1\n2\n").status.success());
    let none = broker.consume("short", &["-o", "4", "-e", "-X", "auto.offset.reset=none"]);
    assert_one_line_error(&none, "partition short-0 has offsets 0 to before 3, not 4");
    for (reset, expected) in [("earliest", "0\n1\n2\n"), ("latest", "")] {
        let output = broker.consume("short", &["-o", "4", "-e", "-X", &format!("auto.offset.reset={reset}")]);
        assert_eq!(text(&output.stdout), expected, "{reset}");
        assert!(output.status.success() && text(&output.stderr).contains("short-0 has offsets 0 to before 3"));
    }
    // Not set: nothing before the asked offset is ever written.
    let mut reader = spawn(&["consume", "-b", &broker.bootstrap, "-t", "short", "-o", "4", "-c", "1"], Stdio::null());
    let note = next_line(&mut BufReader::new(reader.stderr.as_mut().unwrap()));
    assert!(note.ends_with("short-0 has offsets 0 to before 3, not 4: waiting for that offset"), "{note}");
    assert!(broker.produce("short", &[], b"3\n4\n").status.success());
    assert_eq!(text(&finish(reader).stdout), "4\n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_stdout_that_is_full_is_named() {
    let broker = Broker::start(&[]);
    assert!(broker.produce("full", &[], b"x\n").status.success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_milena"));
    command.args(["consume", "-b", &broker.bootstrap, "-t", "full", "-e"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_one_line_error(&command.stdout(full).output().unwrap(), "cannot write to stdout: ");
}

#[test]
fn all_partitions_are_read_and_keys_keep_their_order() {
    let broker = Broker::start(&["--partitions", "5"]);
    let input: String = (0..2000).map(|n| format!("key{}={n}\n", n % 17)).collect();
    let produced = broker.produce("many", &["-K", "="], input.as_bytes());
    assert_eq!(last_line(&produced.stderr), "2000 acknowledged, 0 failed");
    let text = broker.consume_text("many", &["-e", "-K", "="]);
    let mut sorted: Vec<_> = text.lines().collect();
    sorted.sort_by_key(|line| line.split_once('=').unwrap().1.parse::<u64>().unwrap());
    assert!(sorted.iter().copied().eq(input.lines()), "everything, once");
    for key in 0..17 {
        let prefix = format!("key{key}=");
        let numbers: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect();
        assert!(numbers.is_sorted(), "key{key}: {numbers:?}");
    }
}

#[test]
fn a_reader_sees_lines_as_they_come_and_ends_at_a_signal() {
    let broker = Broker::start(&[]);
    assert!(broker.produce("live", &[], b"old\n").status.success());
    let arguments = ["consume", "-b", &broker.bootstrap, "-t", "live"];
    let mut reader = spawn(&arguments, Stdio::null());
    let mut lines = BufReader::new(reader.stdout.take().unwrap());
    assert_eq!(next_line(&mut lines), "old");

    // A person types a line, and it arrives before the input ends.
    let mut writer = spawn(&["produce", "-b", &broker.bootstrap, "-t", "live"], Stdio::piped());
    let mut keyboard = writer.stdin.take().unwrap();
    keyboard.write_all(b"typed\n").unwrap();
    assert_eq!(next_line(&mut lines), "typed");
    // A signal ends the input; what was read is counted.
    terminate(&writer);
    let written = finish(writer);
    assert!(written.status.success(), "{}", text(&written.stderr));
    assert_eq!(last_line(&written.stderr), "1 acknowledged, 0 failed");
    drop(keyboard);

    terminate(&reader);
    assert!(finish(reader).status.success());
}

#[test]
fn a_closed_stdout_is_not_an_error() {
    let broker = Broker::start(&[]);
    let input: String = (0..50_000).map(|n| format!("a line that fills the pipe, number {n}\n")).collect();
    assert!(broker.produce("pipe", &[], input.as_bytes()).status.success());
    let mut reader = spawn(&["consume", "-b", &broker.bootstrap, "-t", "pipe"], Stdio::null());
    drop(reader.stdout.take());
    let output = finish(reader);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn a_record_that_is_too_large_fails_alone() {
    let broker = Broker::start(&[]);
    let mut input = b"small\n".to_vec();
    input.resize(input.len() + 5000, b'x');
    input.extend_from_slice(b"\nsmall too\n");
    let produced = broker.produce("large", &["-X", "max.request.size=1000"], &input);
    assert_eq!(produced.status.code(), Some(1));
    assert_eq!(last_line(&produced.stderr), "2 acknowledged, 1 failed");
    let stderr = text(&produced.stderr);
    assert!(stderr.contains("line 2") && stderr.contains("5000") && stderr.contains("1000"), "{stderr}");
    assert_eq!(broker.consume_text("large", &["-e"]), "small\nsmall too\n");
}

#[test]
fn failures_beyond_the_fifth_are_counted_in_one_line() {
    let broker = Broker::start(&[]);
    let input = format!("{}\n", "x".repeat(2000)).repeat(8);
    let produced = broker.produce("large", &["-X", "max.request.size=1000"], input.as_bytes());
    assert_eq!(last_line(&produced.stderr), "0 acknowledged, 8 failed");
    let stderr = text(&produced.stderr);
    assert_eq!(stderr.matches(": line ").count(), 5, "{stderr}");
    assert!(stderr.contains("\nmilena: 3 records more failed\n"), "{stderr}");
}

#[test]
fn without_acknowledgements_records_are_sent() {
    let broker = Broker::start(&[]);
    let produced = broker.produce("acks0", &["-X", "acks=0"], b"x\n");
    assert_eq!(last_line(&produced.stderr), "1 sent, 0 failed");
}

#[test]
fn a_missing_topic_is_made_unless_a_property_forbids_it() {
    let broker = Broker::start(&[]);
    let never = ["-X", "allow.auto.create.topics=false", "-X", "default.api.timeout.ms=500"];
    assert_one_line_error(&broker.produce("made", &never, b"x\n"), "made");
    let wrong = broker.produce("made", &["-X", "allow.auto.create.topics=perhaps"], b"x\n");
    assert_one_line_error(&wrong, "has to be true or false");
    assert!(broker.produce("made", &[], b"x\n").status.success());
    let produced = broker.produce("made", &never, b"y\n");
    assert_eq!(text(&produced.stderr), "1 acknowledged, 0 failed\n");
}

#[test]
#[cfg(unix)]
fn the_first_signal_waits_for_records_and_the_second_gives_them_up() {
    let broker = Broker::start(&[]);
    let arguments = ["consume", "-b", &broker.bootstrap, "-t", "stuck"];
    let mut writer = spawn(&["produce", "-b", &broker.bootstrap, "-t", "stuck"], Stdio::piped());
    let mut keyboard = writer.stdin.take().unwrap();
    keyboard.write_all(b"first\n").unwrap();
    assert_eq!(text(&run(&[&arguments[..], &["-c", "1"]].concat(), b"").stdout), "first\n");
    let mut errors = BufReader::new(writer.stderr.take().unwrap());
    assert!(next_line(&mut errors).contains("it has been made"));
    signal(&broker.child, "STOP");
    // More than a pipe holds: once it is written, much of it was read.
    keyboard.write_all(&b"a line that nobody acknowledges\n".repeat(8 * 1024)).unwrap();
    terminate(&writer);
    let waiting = next_line(&mut errors);
    assert!(waiting.starts_with("milena: waiting for ") && waiting.ends_with("; again to give up"), "{waiting}");
    terminate(&writer);
    assert!(!wait(&mut writer).success());
    let last = last_line(&read_all(Some(errors)));
    assert!(last.starts_with("1 acknowledged, ") && last.ends_with(" unknown"), "{last}");
    // Every line that was taken is in one of the counts; those that were never enqueued are failed.
    let unknown: u64 = last.rsplit(' ').nth(1).unwrap().parse().unwrap();
    assert!(unknown > 0, "{last}");
    assert_eq!(finish(writer).status.code(), Some(1));
}

#[test]
#[cfg(unix)]
fn a_line_without_its_end_is_sent_at_a_signal() {
    let broker = Broker::start(&[]);
    let mut writer = spawn(&["produce", "-b", &broker.bootstrap, "-t", "open"], Stdio::piped());
    // Once it is written, all but a pipe's worth was read.
    writer.stdin.as_mut().unwrap().write_all(&[b'x'; 256 * 1024]).unwrap();
    terminate(&writer);
    let keyboard = writer.stdin.take();
    let written = finish(writer);
    assert_eq!(last_line(&written.stderr), "1 acknowledged, 0 failed", "{}", text(&written.stderr));
    drop(keyboard);
}
