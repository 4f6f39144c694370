//! `milena decode`: captures, frames and batches in hex, told as trees or JSON.

use super::*;

/// Metadata v12 between milena and Kafka 4.3.1.
const METADATA: &str = "\
    > 0003000c0000000100066d696c656e610002b0867e4cf4c446ee812ac7c13e64fc280000010100\n\
    < 00000001000000000002000000010a3132372e302e302e310000a6b50000174141414141414141414141414141414141414141415100000001\
    02000007676f6c64656eb0867e4cf4c446ee812ac7c13e64fc2800030000000000000000000100000000020000000102000000010100000000\
    000001000000010000000002000000010200000001010000000df80000\n";

fn decode(arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    run(&[&["decode"], arguments].concat(), input.as_ref())
}

fn assert_contains(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in\n{text}"));
}

#[test]
fn decode_prints_a_capture_as_trees() {
    let output = decode(&[], format!("# an exchange\n\n{METADATA}"));
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    let parts = [
        "> Metadata request v12, 39 bytes\n  header\n    request_api_key: 3 Metadata\n",
        "    client_id: \"milena\"\n  body\n    topics: 1 element\n      [0]\n        topic_id: sIZ-TPTERu6BKsfBPmT8KA\n",
        "\n\n< Metadata response v12, 143 bytes\n  header\n    correlation_id: 1\n",
        "        port: 42677\n",
        "        error_code: 0 NONE\n        name: \"golden\"\n        topic_id: sIZ-TPTERu6BKsfBPmT8KA\n",
        "            replica_nodes: [1]\n",
    ];
    assert_contains(&text(&output.stdout), &parts);
}

#[test]
fn decode_finds_out_what_hex_without_a_capture_is() {
    let frames: Vec<&str> = METADATA.lines().map(|line| line.get(2..).unwrap()).collect();
    let request = format!("{:08x}{}", frames[0].len() / 2, frames[0]);
    assert_contains(&text(&decode(&[], &request).stdout), &["> Metadata request v12, 39 bytes\n"]);
    let both = format!("{request}\n{:08x}{}", frames[1].len() / 2, frames[1]);
    assert_contains(&text(&decode(&[], &both).stdout), &["> Metadata request v12", "< Metadata response v12"]);

    let guessed = text(&decode(&[], frames[1]).stdout);
    assert!(guessed.starts_with("# a guess: as Metadata v1"), "{guessed}");
    let told = text(&decode(&["--api", "metadata", "--version", "12"], frames[1]).stdout);
    assert!(told.starts_with("< Metadata response v12"), "{told}");
    let raw: Vec<u8> =
        (0..request.len()).step_by(2).map(|at| u8::from_str_radix(&request[at..at + 2], 16).unwrap()).collect();
    assert_contains(&text(&decode(&[], raw).stdout), &["> Metadata request v12, 39 bytes\n"]);
}

#[test]
fn decode_says_where_a_frame_ends_and_goes_on() {
    let cut = METADATA.lines().next().unwrap().get(..70).unwrap();
    let output = decode(&[], format!("{cut}\n{METADATA}"));
    assert_eq!(output.status.code(), Some(1));
    let line =
        "milena: frame 1, line 1: Metadata request v12: at byte 34, in topics[0].name, where a string should be: ";
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with(line) && stderr.lines().count() == 1, "{stderr}");
    let parts =
        ["topic_id: sIZ-TPTERu6BKsfBPmT8KA\n  ! at byte 34, in topics[0].name", "< Metadata response v12, 143 bytes"];
    assert_contains(&text(&output.stdout), &parts);
}

#[test]
fn decode_writes_json_for_scripts() {
    let output = decode(&["--json"], METADATA);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let frames: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(frames.len(), 2);
    assert_eq!((&frames[0]["direction"], &frames[0]["version"]), (&"request".into(), &12.into()));
    assert_eq!(frames[1]["body"]["topics"][0]["partitions"][1]["replica_nodes"], serde_json::json!([1]));
    assert_eq!(frames[1]["body"]["topics"][0]["topic_id"], "sIZ-TPTERu6BKsfBPmT8KA");
}

#[test]
fn decode_reads_bare_batches_and_says_which_are_damaged() {
    let batch = "00000000000000000000005500000000025b841b8a00100000000100000174876e800000000174876e80050000000000000002000100\
                 00000000000002220000000116636f6d6d69747465642d310022000a020116636f6d6d69747465642d3200";
    let output = decode(&["--records"], batch);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let parts = ["batch [0]: 97 bytes, offsets 0 to 1, not compressed, crc ok, transactional\n", "|committed-2|"];
    assert_contains(&text(&output.stdout), &parts);
    let damaged = decode(&["--records"], batch.replace("2d3200", "2d3300"));
    assert_eq!(damaged.status.code(), Some(1));
    assert_contains(&text(&damaged.stdout), &["crc BAD", "  ! the batch at offset 0", "|committed-3|"]);
    assert_eq!(text(&damaged.stderr), "milena: not every record batch could be read\n");
    let json: serde_json::Value = serde_json::from_slice(&decode(&["--records", "--json"], batch).stdout).unwrap();
    assert_eq!((&json[0]["crc_ok"], &json[0]["records"][1]["offset"]), (&true.into(), &1.into()));
}

#[test]
fn decode_keeps_secrets_and_names_mistakes() {
    // SaslAuthenticate v0: a user and a password.
    let secret = decode(&[], "> 0024000000000002ffff 00000009 00 75736572 00 707373");
    assert_contains(&text(&secret.stdout), &["auth_bytes: (secret)\n"]);
    assert!(!text(&secret.stdout).contains("user") && secret.status.success());
    for (input, expected) in [("", "there is no input"), ("xyz", "'x' after 0 bytes is no hex digit")] {
        assert_one_line_error(&decode(&[], input), expected);
    }
    let neither = decode(&[], "ff ff ff ff ff ff ff ff ff");
    assert_one_line_error(
        &neither,
        "frame 1: 9 bytes that are no request, and no response that any API reads to its end",
    );
    for wrong in [&["--api", "Nope"][..], &["--request", "--version", "3"], &["--records", "--capture"]] {
        assert_eq!(decode(wrong, "00").status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn decode_ends_quietly_when_nobody_reads() {
    let mut child = spawn(&["decode"], Stdio::piped());
    drop(child.stdout.take());
    let input = METADATA.repeat(2_000);
    let mut stdin = child.stdin.take().unwrap();
    let feeding = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = finish(child);
    let _ = feeding.join().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}
