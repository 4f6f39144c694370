//! Writes `fuzz/seeds`: `cargo run --package protocol-tests --example fuzz_seeds`, from the top of the repository.
//!
//! Rules this file keeps: everything follows from fixed numbers, so that a second run changes nothing; seeds are short,
//! because a fuzzer gets nowhere with long ones.

use std::{fs, path::Path};

use milena::record::{BatchBuilder, ChunkPool, Compression, Header};
use protocol_tests::{
    catalog::{Table, catalog},
    fuzz::name_hash,
    golden, random,
};

fn main() {
    let seeds = Seeds { folder: Path::new("fuzz/seeds") };
    for table in catalog() {
        seeds.message(&table);
    }
    seeds.captures();
    seeds.batches();
    seeds.texts();
}

struct Seeds<'a> {
    folder: &'a Path,
}

impl Seeds<'_> {
    fn write(&self, target: &str, name: &str, pieces: &[&[u8]]) {
        let folder = self.folder.join(target);
        fs::create_dir_all(&folder).expect("a folder for the seeds");
        fs::write(folder.join(name), pieces.concat()).expect("a seed");
    }

    /// A body of each message in its newest version, and a frame around those that a client cannot do without.
    fn message(&self, table: &Table) {
        let (first, last) = table.versions.clone().into_inner();
        let body = short_body(table, last);
        let name = format!("{}.v{last}", table.name);
        let Some(key) = table.api else {
            let front = name_hash(table.name).to_be_bytes();
            return self.write("consumer_protocol", &name, &[&front, &last.to_be_bytes(), &body]);
        };
        let is_response = table.name.ends_with("Response");
        let front = |version: i16| [key as u8, (version - first) as u8 | if is_response { 0x80 } else { 0 }];
        self.write("response", &name, &[&front(last), &body]);
        if !FRAMED.contains(&key) {
            return;
        }
        let correlation_and_client: &[u8] = &[0, 0, 0, 7, 6, b'm', b'i', b'l', b'e', b'n', b'a'];
        // Version 1 of a response's header has tagged fields. ApiVersions stays with version 0.
        let tags: &[u8] = if is_response && last >= table.flexible_from && key != 18 { &[0] } else { &[] };
        self.write("frame", &name, &[&front(last), correlation_and_client, tags, &body]);
        if is_response {
            self.write("tree", &name, &[&[1, key as u8, last as u8, 0, 0, 0, 7], tags, &body]);
        }
        self.write("structured_message", &name, &[&front(last), &[0, 0, 0, 1], &[0, 9, 0, 1, 0, 20, 2, 1]]);
    }

    /// The shortest answer of a real broker to each request of a few APIs, in its newest version.
    fn captures(&self) {
        let mut captured = golden::checked_in();
        captured.sort_by_key(|golden| (golden.exchange.api(), -golden.exchange.version(), golden.exchange.len()));
        captured.dedup_by_key(|golden| golden.exchange.api());
        for exchange in captured.into_iter().map(|golden| golden.exchange) {
            let (key, version) = (exchange.api() as u8, exchange.version());
            let name = format!("captured-{key}.v{version}");
            let Some(response) = exchange.response.filter(|response| response.len() < SHORT) else { continue };
            self.write("tree", &name, &[&[1, key, version as u8], &response]);
            self.write("tree", &format!("{name}-request"), &[&[0, 0, 0], &exchange.request]);
        }
    }

    fn batches(&self) {
        for codec in (0..5).filter_map(Compression::from_id) {
            let batch = batch(codec);
            self.write("record_batch", codec.name(), &[&[1], &batch]);
            self.write("record_batch", &format!("{codec}-twice-and-cut"), &[&[0], &batch, &batch[..batch.len() / 2]]);
            if codec != Compression::None {
                self.write("decompress", codec.name(), &[&[codec.id() as u8 - 1, 0], &batch[61..]]);
            }
            for place in 0..4 {
                let records =
                    [3, 7, 3, b'k', b'e', b'y', 5, b'v', b'a', b'l', b'u', b'e', 1, 1, b'h', 255, 20, 255, 255];
                let break_at = [0, 61, 0, 1];
                let front = [codec.id() as u8, 0, place];
                self.write("structured_batch", &format!("{codec}-{place}"), &[&front, &records, &break_at]);
            }
        }
        let mut past = batch(Compression::None);
        // The first record's offset delta, behind its length, attributes and timestamp of a byte each.
        past[61 + 3] = 0x7e;
        self.write("record_batch", "a-record-past-its-batch", &[&[0], &past]);
        for (magic, codec, place) in (0..24).map(|number| (number & 1, number / 2 % 4, number / 8)) {
            let messages = [7, 3, 0, 3, b'k', b'e', b'y', 5, b'v', b'a', b'l', b'u', b'e', 0, 0, 255, 20, 1, 2, 3];
            self.write("old_formats", &format!("{magic}-{codec}-{place}"), &[&[magic, codec, place], &messages]);
        }
        for (name, codec, bytes) in FRAMES {
            self.write("decompress", name, &[&[codec - 1, 0], bytes]);
        }
        for (name, region) in captured() {
            self.write("record_batch", &name, &[&[1], &region]);
        }
    }

    fn texts(&self) {
        self.write("confluent_frame", "id-1", &[&[0, 0, 0, 0, 1], b"body"]);
        self.write("confluent_frame", "guid", &[&[1; 17]]);
        for (name, text) in PROPERTIES {
            // Every eighth input is checked, so these have lengths that are.
            self.write(
                "properties",
                name,
                &[text.as_bytes(), &vec![b'\n'; text.len().next_multiple_of(8) - text.len()]],
            );
        }
        for (schema, (name, body)) in AVRO.iter().enumerate() {
            self.write("avro", name, &[&[schema as u8, schema as u8], body]);
        }
        self.write("avro", "order-for-a-later-reader", &[&[7, 8], AVRO[7].1]);
    }
}

/// The shortest of some random bodies that says anything.
fn short_body(table: &Table, version: i16) -> Vec<u8> {
    let bodies = (0..24).map(|seed| random::body(table, version, seed));
    bodies.min_by_key(|body| body.len().abs_diff(WANTED)).unwrap_or_default()
}

fn batch(codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(&ChunkPool::default());
    for number in 0..8u8 {
        let value = [b'a' + number; 40];
        let header = Header { key: "trace", value: (number % 2 == 0).then_some(&value[..4]) };
        let value = (number != 3).then_some(&value[..]);
        builder.append(1_700_000_000_000 + i64::from(number), Some(b"key"), value, &[header]).expect("room");
    }
    let sealed = builder.seal().compress(codec, None);
    sealed.pieces(sealed.stamp(7, 0, 0)).concat()
}

/// What Kafka's own classes wrote, in all formats.
fn captured() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("protocol-tests/golden/records").expect("the golden regions") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = fs::read_to_string(&path).expect("a golden region");
            let hex = text.lines().next().unwrap_or_default();
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, (0..hex.len()).step_by(2).map(byte).collect()));
        }
    }
    found
}

/// No captured frame that is longer becomes a seed.
const SHORT: usize = 256;

/// The length that a body should have: long enough for a list with something in it.
const WANTED: usize = 60;

/// Produce, Fetch, Metadata, a coordinator's and what a connection begins with.
const FRAMED: &[i16] = &[0, 1, 3, 10, 11, 17, 18, 22, 36, 60];

/// Forms that our own compressors do not write: name, codec, bytes.
const FRAMES: &[(&str, u8, &[u8])] = &[
    ("snappy-bare", 2, b"\x08\x1cabcdefgh"),
    ("snappy-bare-copy", 2, b"\x14\x0cabcd\x3e\x04\x00"),
    ("lz4-stored-block", 3, b"\x04\x22\x4d\x18\x60\x40\x82\x08\x00\x00\x80abcdefgh\x00\x00\x00\x00"),
    (
        "lz4-linked-blocks",
        3,
        b"\x04\x22\x4d\x18\x40\x40\xc0\x08\x00\x00\x80abcdefgh\x03\x00\x00\x00\x0f\x08\x00\x00\x00\x00\x00",
    ),
    ("zstd-raw-block", 4, b"\x28\xb5\x2f\xfd\x20\x08\x41\x00\x00abcdefgh"),
    ("zstd-rle-block", 4, b"\x28\xb5\x2f\xfd\x00\x58\x03\x02\x00a"),
    ("zstd-skippable-frame", 4, b"\x50\x2a\x4d\x18\x02\x00\x00\x00xx\x28\xb5\x2f\xfd\x20\x08\x41\x00\x00abcdefgh"),
    (
        "gzip-stored-block",
        1,
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01\x08\x00\xf7\xffabcdefgh\x50\x2a\xef\xae\x08\x00\x00\x00",
    ),
];

const PROPERTIES: &[(&str, &str)] = &[
    ("producer", "# a producer\nbootstrap.servers=a:9092,b:9092\nacks = all\nlinger.ms: 20\ncompression.type zstd\n"),
    ("consumer", "group.id=g\nauto.offset.reset=earliest\nmax.poll.records=10\r\nfetch.min.bytes=1\r\n"),
    ("escapes", "a\\=b\\:c\\ d=\\u00e4\\ud83d\\ude00\\t\\n\\\\\nlong=one \\\n   two\\\n\n! done\n=\n"),
    (
        "sasl",
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=org.apache.kafka.common.security.\
         scram.ScramLoginModule required username=\"u\" password=\"p\\\\\"\";\nssl.enabled.protocols=TLSv1.3\n",
    ),
    ("registry", "schema.registry.url=http://r:8081\nbasic.auth.credentials.source=USER_INFO\nlinger.sm=1\n"),
];

/// A body for each schema, in their order.
const AVRO: &[(&str, &[u8])] = &[
    ("string", b"\x08text"),
    ("longs", b"\x04\x02\x04\x01\x02\x06\x00"),
    ("some-integers", b"\x06\x00\x02\x08\x00\x00"),
    ("map-of-strings", b"\x02\x02k\x02\x02v\x00\x00"),
    ("union-with-fixed", b"\x04abcd"),
    ("list", b"\x02\x02\x04\x00"),
    ("tree", b"\x04\x00\x02\x00\x00\x00"),
    ("order", b"\x02\x80\xa0\xd5\x9b\xf7\x63\x04\x01\x00\x4800000000-0000-4000-8000-000000000001\x01\x02\x02n"),
];
