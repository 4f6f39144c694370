use bytes::Bytes;

use super::*;
use crate::wire::{
    self, APIS, Api, ApiKey, DATA, FieldSpec, Frame, Records, Rule,
    message::{since, versions},
    messages::{
        ApiVersionsResponse, JoinGroupRequest, JoinGroupRequestProtocol, MetadataRequest, MetadataResponse,
        MetadataResponseBroker,
    },
};

const fn line(name: &'static str, kind: Kind, rule: Rule) -> FieldSpec {
    FieldSpec { name, kind, rule, default: String::new }
}

/// A table with everything that tables have.
static TABLE: Table = Table {
    name: "Story",
    versions: 0..=2,
    flexible_from: 1,
    fields: &[
        line("error_code", Kind::Int16, since(0)),
        line("gone", Kind::Int8, versions(0, 0)),
        line("name", Kind::String, since(0).nullable(1)),
        line("items", Kind::Array { of: &ITEM }, since(0)),
        line("one", ITEM, since(2).nullable(2)),
        line("password", Kind::Bytes, since(1).secret().nullable(1)),
        line("extra", Kind::Int64, since(1).tag(3)),
        line("max_timestamp", Kind::Int64, since(2)),
    ],
};
static ITEM: Kind = Kind::Struct {
    name: "Item",
    fields: &[line("id", Kind::Uuid, since(0)), line("flags", Kind::Array { of: &Kind::Bool }, since(0))],
};

/// Version 2: error, name, one item with two flags and no tags, no `one`, a password, a time, two tags.
fn body() -> Vec<u8> {
    let mut body = vec![0, 3, 3, b'h', 0x1b, 2];
    body.extend([0; 15]);
    body.extend([1, 3, 1, 0, 0, 0xff, 5]);
    body.extend(b"pssw");
    body.extend(1_700_000_000_123i64.to_be_bytes());
    body.extend([2, 3, 8, 0, 0, 0, 0, 0, 0, 0, 9, 77, 2, 0xca, 0xfe]);
    body
}

fn read(bytes: &[u8], version: i16) -> Tree {
    Tree::read(&TABLE, version, Bytes::copy_from_slice(bytes))
}

/// Every byte belongs to one node, in order: a node's head, then its children.
fn covers(node: &Node) {
    let mut at = node.bytes.start + node.head;
    for child in node.children() {
        assert_eq!(child.bytes.start, at, "{} begins where its neighbour ends", child.name);
        covers(child);
        at = child.bytes.end;
    }
    if matches!(node.value, Value::Array(_) | Value::Struct(_) | Value::Tags(_)) {
        assert_eq!(node.bytes.end, at, "{} ends where its last child ends", node.name);
    }
}

#[test]
fn a_body_prints_as_a_tree() {
    let tree = read(&body(), 2);
    assert_eq!(tree.fault, None);
    covers(&tree.root);
    assert_eq!(tree.root.bytes, 0..body().len());
    let expected = r#"Story v2
  error_code: 3 UNKNOWN_TOPIC_OR_PARTITION
  name: "h\u{1b}"
  items: 1 element
    [0]
      id: AAAAAAAAAAAAAAAAAAAAAQ
      flags: [true, false]
  one: null
  password: (secret)
  max_timestamp: 1700000000123 (2023-11-14T22:13:20.123Z)
  extra (tag 3): 9
  unknown tag 77: 2 bytes cafe |..|
"#;
    assert_eq!(tree.to_string(), expected);
    assert!(!format!("{tree:?}").contains("pssw") && !format!("{tree:?}").contains("112, 115"), "no secret in Debug");
}

#[test]
fn versions_that_are_not_flexible_have_plain_lengths() {
    let body = [0, 0, 7, 0, 1, b'x', 0, 0, 0, 0];
    let tree = read(&body, 0);
    covers(&tree.root);
    assert_eq!(tree.to_string(), "Story v0\n  error_code: 0 NONE\n  gone: 7\n  name: \"x\"\n  items: []\n");
    let unknown = read(&body, 9);
    assert_eq!(unknown.to_string(), "Story v9\n! at byte 0: version 9 is not in the table\n");
}

#[test]
fn a_cut_body_keeps_what_was_read_and_says_where_it_ended() {
    let body = body();
    for end in 0..body.len() {
        let tree = read(&body[..end], 2);
        let fault = tree.fault.clone().unwrap_or_else(|| panic!("cut at {end} and read"));
        covers(&tree.root);
        assert!(fault.at <= end && tree.root.bytes.end <= end, "cut at {end}: {fault}");
        assert!(!tree.to_string().contains("pssw"));
    }
    let table = [
        (1, "at byte 0, in error_code, where an int16 should be: 2 bytes are needed, 1 are left"),
        (2, "at byte 2, in name, where a string should be: a variable-length integer out of its range"),
        (4, "at byte 3, in name, where a string should be: 2 bytes are needed, 1 are left"),
        (10, "at byte 6, in items[0].id, where a uuid should be: 16 bytes are needed, 4 are left"),
        (24, "at byte 24, in items[0].flags[1], where a bool should be: 1 bytes are needed, 0 are left"),
        (26, "at byte 26, in one, where a structure should be: 1 bytes are needed, 0 are left"),
        (43, "at byte 43, in extra, where an int64 should be: 8 bytes are needed, 0 are left"),
        (54, "at byte 53, in tag 77, where bytes should be: 2 bytes are needed, 1 are left"),
    ];
    for (end, expected) in table {
        assert_eq!(read(&body[..end], 2).fault.map(|fault| fault.to_string()).as_deref(), Some(expected), "{end}");
    }
}

#[test]
fn hostile_bodies_are_refused_where_they_are_wrong() {
    let table: [(&[u8], &str, &str); 8] = [
        (&[0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], "items", "4294967294 elements"),
        (&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], "name", "4294967294 bytes are needed, 0 are left"),
        (&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x1f], "name", "a variable-length integer out of its range"),
        (&[0, 0, 2, 0xff], "name", "a string that is not UTF-8"),
        (&[0, 0, 0, 0], "items", "null where this version has no null"),
        (&[0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 9, 0, 0, 0, 0, 0, 0, 0, 0, 9], "tag 3", "1 bytes belong"),
        (&[0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0x03], "", "65535 elements"),
        (&[0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], "", "1 bytes belong to no field"),
    ];
    for (body, path, why) in table {
        let fault = read(body, 2).fault.expect("a fault");
        assert_eq!(fault.path, path, "{fault}");
        assert!(fault.to_string().contains(why), "{fault}");
    }
}

#[test]
fn every_byte_may_be_changed() {
    for at in 0..body().len() {
        for change in [0xff, 0x80, 0x7f, 0x01] {
            let mut body = body();
            body[at] ^= change;
            covers(&read(&body, 2).root);
        }
    }
}

#[test]
fn long_values_are_shortened_unless_all_is_asked_for() {
    let mut body = vec![0, 0, 0x80, 0x04];
    body.extend([b'x'; 511]);
    body.extend([1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9, 100]);
    body.extend([7; 100]);
    let tree = read(&body, 2);
    assert_eq!(tree.fault, None);
    let text = tree.to_string();
    assert!(text.contains(&format!("name: {:?}… (511 bytes)\n", "x".repeat(200))), "{text}");
    assert!(text.contains(&format!("unknown tag 9: 100 bytes {}… |", "07".repeat(SHOWN_BYTES))), "{text}");
    let mut full = Vec::new();
    Print { full: true, indent: 1 }.tree(&tree, &mut full).expect("memory takes everything");
    let full = String::from_utf8(full).expect("text");
    assert!(full.contains(&"x".repeat(511)) && full.contains(&"07".repeat(100)), "{full}");
    assert!(full.lines().all(|line| line.starts_with("  ")));
}

fn frame_of(frame: Frame) -> Bytes {
    Records::from_pieces(frame.into_pieces()).into_bytes().slice(4..)
}

fn print(frame: &FrameTree) -> (String, bool) {
    let mut out = Vec::new();
    let well = Print::default().frame(frame, &mut out).expect("memory takes everything");
    (String::from_utf8(out).expect("text"), well)
}

#[test]
fn a_request_says_itself_what_it_is() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let frame = frame_of(wire::encode_request(&request, 12, 77, Some("me")).expect("a frame"));
    let tree = FrameTree::request(frame);
    assert_eq!((tree.api, tree.version, tree.correlation_id()), (ApiKey::METADATA, 12, Some(77)));
    let (text, well) = print(&tree);
    assert!(well && text.starts_with("> Metadata request v12, 17 bytes\n  header\n    request_api_key: 3 Metadata\n"));
    assert!(text.contains("    correlation_id: 77\n    client_id: \"me\"\n  body\n    topics: null\n"), "{text}");
}

#[test]
fn what_has_no_table_shows_its_header() {
    let tree = FrameTree::request(Bytes::from_static(&[3, 0, 0, 1, 0, 0, 0, 9, 0, 1, b'c', 1, 2, 3]));
    let (text, well) = print(&tree);
    assert!(!well && text.contains("client_id: \"c\""), "{text}");
    let fault = "! at byte 11: there is no table for the body of this API (3 of 14 bytes not read)";
    assert!(text.contains(fault), "{text}");
    assert!(FrameTree::request(Bytes::new()).fault.is_some());
}

#[test]
fn an_api_versions_answer_may_be_of_version_zero() {
    let response = ApiVersionsResponse { error_code: wire::ErrorCode(35), ..Default::default() };
    let body = wire::encode_body(&response, 0).expect("a body");
    let frame = Bytes::from([&[0, 0, 0, 1], &body[..]].concat());
    let tree = FrameTree::response(frame, ApiKey::API_VERSIONS, 4);
    assert_eq!((tree.version, tree.fault), (0, None));
}

#[test]
fn a_response_alone_is_guessed() {
    let broker = MetadataResponseBroker { node_id: 1, host: "localhost".into(), port: 9092, ..Default::default() };
    let response = MetadataResponse { brokers: vec![broker], ..Default::default() };
    let body = wire::encode_body(&response, 12).expect("a body");
    let frame = Bytes::from([&[0, 0, 0, 1, 0], &body[..]].concat());
    let guesses = guess_response(&frame, None, None);
    let best = guesses.first().expect("a guess");
    assert!(best.api == ApiKey::METADATA && best.versions.contains(&12), "{guesses:?}");
    assert!(guess_response(&frame, Some(ApiKey::FETCH), None).is_empty());
    assert!(guess_response(&frame, None, Some(12)).iter().all(|guess| guess.versions == (12..=12)));
    assert!(guess_response(&Bytes::from_static(b"\0\0\0"), None, None).is_empty());
}

/// Two records with headers, as Kafka wrote them: a name, an empty value and a null among them.
const BATCH: &str = "000000000000000000000090000000000277ad1da100000000000100000174876e800000000174876e800affffffffffffffffffffffff\
                     ffff000000026c000000010a616c7068610418636f6e74656e742d74797065206170706c69636174696f6e2f6a736f6e107472616365\
                     2d6964060001024e001402066b65790a627261766f0416656d7074792d76616c756500146e756c6c2d76616c756501";

fn batch() -> Vec<u8> {
    (0..BATCH.len()).step_by(2).map(|at| u8::from_str_radix(&BATCH[at..at + 2], 16).expect("hex")).collect()
}

/// The batch with some of its bytes changed, and its checksum right again.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let sum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
    batch
}

fn print_records(region: Vec<u8>) -> (String, bool) {
    let mut out = Vec::new();
    let well = Print::default().records(&region.into(), &mut out).expect("memory takes everything");
    (String::from_utf8(out).expect("text"), well)
}

#[test]
fn batches_print_with_header_records_and_headers() {
    let (text, well) = print_records([batch(), batch()].concat());
    assert!(well, "{text}");
    let parts = [
        "batch [0]: 156 bytes, offsets 0 to 1, not compressed, crc ok\n  base_offset: 0\n",
        "  producer_id: -1\n",
        "  max_timestamp: 1600000000010 (2020-09-13T12:26:40.010Z)\n",
        "  [1]\n    offset: 1\n    timestamp: 1600000000010 (2020-09-13T12:26:40.010Z)\n    key: 3 bytes 6b6579 |key|\n",
        "      [0]\n        key: \"empty-value\"\n        value: 0 bytes\n",
        "      [1]\n        key: \"null-value\"\n        value: null\nbatch [1]: 156 bytes",
    ];
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn a_damaged_batch_shows_its_header_and_why() {
    let mut flipped = batch();
    flipped[80] ^= 1;
    let table = [
        (flipped, "crc BAD", "its checksum is", "bravo"),
        (patched(22, &[7]), "crc ok", "codec 7 is not known", "attributes: 7"),
        (patched(22, &[1]), "gzip, crc ok", "! the batch at offset 0", "attributes: 1"),
        (patched(57, &[0, 0, 0, 1]), "crc ok", "bytes are left behind its last record", "record_count: 1"),
        (
            patched(23, &[0xff, 0, 0, 0]),
            "batch [0]: 156 bytes",
            "! the batch at offset 0",
            "last_offset_delta: -16777216",
        ),
    ];
    for (damaged, about, why, shown) in table {
        let (text, well) = print_records([damaged, batch()].concat());
        assert!(!well, "{text}");
        for part in [about, why, shown, "batch [1]: 156 bytes, offsets 0 to 1, not compressed, crc ok"] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}

#[test]
fn control_batches_name_their_type() {
    // A record of 16 bytes: no attributes, no deltas, a key of version 0 and type 1, a value of 6 bytes, no headers.
    let record = [0x20, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 5, 0];
    let mut batch = batch();
    batch.truncate(61);
    batch.extend(record);
    batch[8..12].copy_from_slice(&((61 - 12 + record.len()) as i32).to_be_bytes());
    batch[21..23].copy_from_slice(&[0, 0x30]);
    batch[57..61].copy_from_slice(&[0, 0, 0, 1]);
    let sum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
    let (text, well) = print_records(batch);
    assert!(well && text.contains("crc ok, transactional, control\n"), "{text}");
    assert!(text.contains("    control: \"COMMIT\"\n    value\n      coordinator_epoch: 5\n"), "{text}");
}

#[test]
fn a_record_of_very_many_headers_shows_some() {
    // A record of 24,008 bytes: no deltas, key or value, and 12,000 headers of an empty name and value.
    let mut record = vec![0, 0, 0, 1, 1, 0xc0, 0xbb, 0x01];
    record.resize(record.len() + 24_000, 0);
    let mut batch = batch();
    batch.truncate(61);
    batch.extend([0x90, 0xf7, 0x02]);
    batch.extend(record);
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[57..61].copy_from_slice(&[0, 0, 0, 1]);
    let (text, _) = print_records(batch);
    assert!(
        text.contains("    headers: 10000 elements\n") && text.contains("    headers_left_out: 2000\n"),
        "{}",
        &text[..900]
    );
}

#[test]
fn a_region_may_be_cut_and_changed_at_every_byte() {
    let region = [batch(), batch()].concat();
    for end in 0..region.len() {
        let (text, _) = print_records(region[..end].to_vec());
        let is_cut = end > 0 && end != batch().len();
        assert_eq!(text.contains("cut off"), is_cut, "{end}: {text}");
    }
    for at in 0..region.len() {
        for change in [0xff, 0x80, 0x01] {
            let mut region = region.clone();
            region[at] ^= change;
            print_records(region);
        }
    }
}

#[test]
fn what_a_group_puts_into_bytes_is_read() {
    // Version 1, one topic, user data of four bytes, no owned partitions.
    let bytes = b"\0\x01\0\0\0\x01\0\x06orders\0\0\0\x04\0\0\0\x07\0\0\0\0";
    let read = |bytes: &[u8]| {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::copy_from_slice(bytes) };
        let request = JoinGroupRequest { protocols: vec![protocol], ..Default::default() };
        let frame = wire::encode_request(&request, 5, 1, None).expect("a frame");
        FrameTree::request(frame_of(frame)).to_string()
    };
    let text = read(bytes);
    let subscription = "        metadata: ConsumerProtocolSubscription v1\n          topics: [\"orders\"]\n          \
                        user_data: CooperativeStickyAssignorUserData v0\n            generation: 7\n          \
                        owned_partitions: []\n";
    assert!(text.contains(subscription), "{text}");
    // A version nobody knows may have more behind it; what does not read stays bytes.
    let newer = read(&[b"\0\x09", &bytes[2..], b"\xff\xff\xff\xff\xff\xffmore"].concat());
    assert!(newer.contains("metadata: ConsumerProtocolSubscription v9\n"), "{newer}");
    assert!(read(&bytes[..20]).contains("metadata: 20 bytes 0001000000"));
    assert!(read(b"mine").contains("metadata: 4 bytes 6d696e65 |mine|"));
}

#[test]
fn embedded_structures_of_the_list_have_tables() {
    let structures = embedded::EMBEDDED.iter().map(|(_, _, structure)| *structure);
    let user_data = embedded::USER_DATA.iter().map(|(structure, _)| *structure);
    let control = (0..=6).filter_map(|kind| records::control(&[0, 0, 0, kind])?.1);
    for name in structures.chain(user_data).chain(control).chain(["RequestHeader", "ResponseHeader"]) {
        assert!(DATA.iter().any(|table| table.name == name), "{name}");
    }
    for (message, field) in embedded::EMBEDDED.iter().map(|(message, field, _)| (*message, *field)) {
        let has = |table: &Table| table.name == message && names(table.fields).contains(&field);
        assert!(APIS.iter().any(|Api { request, response, .. }| has(request) || has(response)), "{message}.{field}");
    }
}

/// The names of all fields of a table.
fn names(fields: &'static [FieldSpec]) -> Vec<&'static str> {
    let inner = |kind: &Kind| match kind {
        Kind::Array { of } => names(of.fields()),
        kind => names(kind.fields()),
    };
    fields.iter().flat_map(|field| std::iter::once(field.name).chain(inner(&field.kind))).collect()
}

#[test]
fn messages_of_old_formats_print_with_their_record() {
    // A message of format 1 by a broker: no key, the value alpha.
    let hex = "00000000000000000000001b565adc8c01000000015ac2acf800ffffffff00000005616c706861";
    let message: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
    let (text, well) = print_records([&message[..], &message].concat());
    assert!(well, "{text}");
    let parts = [
        "batch [0]: 39 bytes, not compressed, crc ok\n  offset: 0\n  message_size: 27\n",
        "  magic: 1\n",
        "  [0]\n    offset: 0\n    timestamp: 1489324800000 (2017-03-12T13:20:00.000Z)\n    key: null\n",
        "    value: 5 bytes 616c706861 |alpha|\nbatch [1]: 39 bytes",
    ];
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// After SaslHandshake 0 a client sends its password as it is, without a header.
#[test]
fn a_token_of_sasl_without_a_header_is_not_shown() {
    let tokens: [&[u8]; 6] = [
        b"\0alice\0hunter2",
        b"\0u\0hunter2",
        b"\0A\0hunter2 is long enough for a header and more",
        b"bob\0alice\0hunter2",
        b"a\0hunter2\0hunter2",
        b"n,,n=hunter2,r=hunter2",
    ];
    for token in tokens {
        let tree = FrameTree::request(Bytes::from_static(token));
        assert!(tree.fault.is_some() && tree.header.root.children().is_empty(), "{token:?}");
        let printed = format!("{tree} {tree:?} {:?}", tree.api);
        for secret in ["hunter", "alice", "bob", "n="] {
            assert!(!printed.contains(secret), "{printed}");
        }
        assert_eq!((tree.api, tree.version, tree.correlation_id()), (ApiKey(-1), -1, None));
    }
}

#[test]
fn zeros_are_one_fault_and_not_many_batches() {
    let zeros: Vec<_> = batches(Bytes::from(vec![0; 4096])).collect();
    assert_eq!(zeros.len(), 1);
    assert!(zeros[0].fault.is_some() && !zeros[0].is_cut && zeros[0].len == 4096);
    let mut unknown = vec![0x7f; 100];
    unknown[16] = 9;
    let unknown: Vec<_> = batches(Bytes::from(unknown)).collect();
    assert_eq!(unknown[0].fault.as_deref(), Some("record format 9 is not known"));
}
