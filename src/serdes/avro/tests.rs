use std::collections::HashMap;

use apache_avro::types::Value;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    id: String,
    molecule: Option<String>,
    size: i32,
    iterations: Vec<Iteration>,
    timings: HashMap<String, f64>,
    started: i64,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Iteration {
    parameters: Vec<f64>,
    energy: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum State {
    Converged,
    Aborted,
}

const RUN: &str = r#"{"type": "record", "name": "Run", "namespace": "vqe", "fields": [
    {"name": "id", "type": "string"},
    {"name": "molecule", "type": ["null", "string"]},
    {"name": "size", "type": "int"},
    {"name": "iterations", "type": {"type": "array", "items": {"type": "record", "name": "Iteration", "fields": [
        {"name": "parameters", "type": {"type": "array", "items": "double"}},
        {"name": "energy", "type": "double"}]}}},
    {"name": "timings", "type": {"type": "map", "values": "double"}},
    {"name": "started", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["Converged", "Aborted"]}}]}"#;

fn run() -> Run {
    let iteration = |n: u32| Iteration { parameters: (0..n).map(f64::from).collect(), energy: -1.137 * f64::from(n) };
    Run {
        id: "run-1".into(),
        molecule: Some("H₂".into()),
        size: -4,
        iterations: (0..3).map(iteration).collect(),
        timings: HashMap::from([("ansatz".into(), 0.25)]),
        started: 1_700_000_000_000,
        state: State::Aborted,
    }
}

fn encoded<T: Serialize + ?Sized>(schema: &AvroSchema, value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    schema.encode(value, &mut out).unwrap();
    out
}

fn schema(text: &str) -> AvroSchema {
    AvroSchema::parse(text).unwrap()
}

#[test]
fn golden_bodies() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct R {
        a: String,
        b: i64,
    }
    let text = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"b","type":"long"}]}"#;
    let value = R { a: "hi".into(), b: -3 };
    assert_eq!(encoded(&schema(text), &value), [0x04, 0x68, 0x69, 0x05]);
    assert_eq!(schema(text).decode::<R>(&schema(text), &[0x04, 0x68, 0x69, 0x05]).unwrap(), value);

    let string = schema(r#""string""#);
    assert_eq!(encoded(&string, "abc"), [0x06, 0x61, 0x62, 0x63]);
    assert_eq!(string.decode::<String>(&string, &[0x06, 0x61, 0x62, 0x63]).unwrap(), "abc");
}

#[test]
fn a_top_level_bytes_has_no_length() {
    let bytes = schema(r#""bytes""#);
    let mut out = b"before".to_vec();
    bytes.encode_value(&Value::Bytes(vec![1, 2, 3]), &mut out).unwrap();
    assert_eq!(out, b"before\x01\x02\x03");
    let long = vec![7; 1000];
    let mut out = Vec::new();
    bytes.encode_value(&Value::Bytes(long.clone()), &mut out).unwrap();
    assert_eq!(out, long);
    assert_eq!(bytes.decode_value(None, &out).unwrap(), Value::Bytes(long));
    assert_eq!(bytes.decode_value(None, &[]).unwrap(), Value::Bytes(Vec::new()));
}

#[test]
fn what_is_written_is_read() {
    let schema = schema(RUN);
    assert_eq!(schema.full_name().as_deref(), Some("vqe.Run"));
    for run in [run(), Run { molecule: None, iterations: Vec::new(), timings: HashMap::new(), ..run() }] {
        let body = encoded(&schema, &run);
        assert_eq!(schema.decode::<Run>(&schema, &body).unwrap(), run);
        let value = schema.decode_value(None, &body).unwrap();
        let mut again = Vec::new();
        schema.encode_value(&value, &mut again).unwrap();
        assert_eq!(again, body);
    }
}

#[test]
fn bytes_cut_anywhere_are_an_error() {
    let schema = schema(RUN);
    let body = encoded(&schema, &run());
    for end in 0..body.len() {
        let error = schema.decode::<Run>(&schema, &body[..end]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Serialization, "cut at {end}");
        schema.decode_value(None, &body[..end]).unwrap_err();
    }
    let longer = [&body[..], b"more"].concat();
    assert_eq!(schema.decode::<Run>(&schema, &longer).unwrap(), run(), "trailing bytes are accepted, as by Java");
}

#[test]
fn garbage_is_an_error_or_a_value_but_never_a_panic() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    println!("seed {seed}");
    let schema = schema(RUN);
    let good = encoded(&schema, &run());
    for _ in 0..2000 {
        let mut body = good.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..body.len());
            body[at] = random.u8(..);
        }
        let _ = schema.decode::<Run>(&schema, &body);
        let _ = schema.decode_value(None, &body);
    }
}

#[test]
fn announced_lengths_reserve_no_memory() {
    // Each announces a gigabyte or more and holds nothing.
    let huge = [0x80, 0x80, 0x80, 0x80, 0x10];
    for text in [
        r#""string""#,
        r#"{"type": "array", "items": "double"}"#,
        r#"{"type": "array", "items": "null"}"#,
        r#"{"type": "map", "values": "null"}"#,
        r#"{"type": "array", "items": {"type": "record", "name": "E", "fields": []}}"#,
    ] {
        let schema = schema(text);
        schema.decode::<serde_json::Value>(&schema, &huge).unwrap_err();
        schema.decode_value(None, &huge).unwrap_err();
    }
}

#[test]
fn another_writers_schema_is_resolved() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct New {
        wide: i64,
        added: String,
        renamed_type: Option<f64>,
        level: String,
    }
    let writer = schema(
        r#"{"type": "record", "name": "Old", "fields": [
        {"name": "gone", "type": "string"}, {"name": "wide", "type": "int"}, {"name": "renamed_type", "type": "float"},
        {"name": "level", "type": {"type": "enum", "name": "L", "symbols": ["low", "new"]}}]}"#,
    );
    let reader = schema(
        r#"{"type": "record", "name": "Old", "fields": [
        {"name": "wide", "type": "long"}, {"name": "added", "type": "string", "default": "none"},
        {"name": "renamed_type", "type": ["null", "double"]},
        {"name": "level", "type": {"type": "enum", "name": "L", "symbols": ["low", "high"], "default": "low"}}]}"#,
    );
    let old = Value::Record(vec![
        ("gone".into(), Value::String("x".into())),
        ("wide".into(), Value::Int(7)),
        ("renamed_type".into(), Value::Float(0.5)),
        ("level".into(), Value::Enum(1, "new".into())),
    ]);
    let mut body = Vec::new();
    writer.encode_value(&old, &mut body).unwrap();
    let new = New { wide: 7, added: "none".into(), renamed_type: Some(0.5), level: "low".into() };
    assert_eq!(writer.decode::<New>(&reader, &body).unwrap(), new);
    // The other way the reader lacks a value.
    reader.decode::<New>(&writer, &[0x0e, 0x00, 0x00, 0x00]).unwrap_err();
}

#[test]
fn schemas_that_differ_in_words_only_are_the_same() {
    let plain =
        schema(r#"{"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "a", "type": "int"}]}"#);
    let wordy = r#"{"doc": "…", "name": "n.R", "fields": [{"type": {"type": "int"}, "doc": "x", "name": "a"}], "type": "record"}"#;
    assert!(plain.is_same_as(&schema(wordy)));
    assert!(!plain.is_same_as(&schema(&wordy.replace(r#""type": "int""#, r#""type": "long""#))));
}

#[test]
fn structs_may_have_other_names_than_their_records() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        inner: Vec<Inner>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        a: i32,
    }
    let inner = r#"{"type": "record", "name": "I", "fields": [{"name": "a", "type": "int"}]}"#;
    for name in ["O", "Outer"] {
        let schema = schema(&format!(
            r#"{{"type": "record", "name": "{name}", "fields": [{{"name": "inner", "type": {{"type": "array", "items": {inner}}}}}]}}"#
        ));
        let value = Outer { inner: vec![Inner { a: 1 }, Inner { a: 2 }] };
        let body = encoded(&schema, &value);
        assert_eq!(schema.decode::<Outer>(&schema, &body).unwrap(), value);
        schema.decode::<Outer>(&schema, &body[..3]).unwrap_err();
    }
}

#[test]
fn recursive_types_and_types_of_others_work() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Node {
        value: i32,
        next: Option<Box<Node>>,
    }
    let list = schema(
        r#"{"type": "record", "name": "Node", "fields": [
        {"name": "value", "type": "int"}, {"name": "next", "type": ["null", "Node"]}]}"#,
    );
    let node = |value, next| Some(Box::new(Node { value, next }));
    let short = *node(1, node(2, node(3, None))).unwrap();
    assert_eq!(list.decode::<Node>(&list, &encoded(&list, &short)).unwrap(), short);
    // 100,000 nodes: refused at the limit, not by an overflowing stack.
    let deep = [0x02, 0x02].repeat(100_000);
    assert!(list.decode::<Node>(&list, &deep).unwrap_err().to_string().contains("recursion"));
    list.decode_value(None, &deep).unwrap_err();

    let point = r#"{"type": "record", "name": "Point", "namespace": "g", "fields": [{"name": "x", "type": "int"}]}"#;
    let line = r#"{"type": "record", "name": "Line", "namespace": "g", "fields": [
        {"name": "from", "type": "Point"}, {"name": "to", "type": "g.Point"}]}"#;
    AvroSchema::parse(line).unwrap_err();
    let line = AvroSchema::parse_with(line, &[point]).unwrap();
    let value = line.decode_value(None, &[0x02, 0x04]).unwrap();
    let point = |x| Value::Record(vec![("x".into(), Value::Int(x))]);
    assert_eq!(value, Value::Record(vec![("from".into(), point(1)), ("to".into(), point(2))]));
}

#[test]
fn hostile_schemas_are_refused_on_a_small_stack() {
    let nested = |depth: usize| {
        let open = r#"{"type": "array", "items": "#;
        format!("{}\"int\"{}", open.repeat(depth), "}".repeat(depth))
    };
    let records = |depth: usize| {
        let open =
            (0..depth).map(|n| format!(r#"{{"type": "record", "name": "R{n}", "fields": [{{"name": "f", "type": "#));
        format!("{}\"int\"{}", open.collect::<String>(), "}]}".repeat(depth))
    };
    // Each refers to the one before twice: 2^40 nodes if it were written out.
    let doubling = (0..40).map(|n| {
        let of = if n == 0 { r#""null""#.to_owned() } else { format!(r#""D{}""#, n - 1) };
        format!(
            r#"{{"name": "f{n}", "type": {{"type": "record", "name": "D{n}", "fields": [
            {{"name": "a", "type": {of}}}, {{"name": "b", "type": {of}}}]}}}}"#
        )
    });
    let doubling =
        format!(r#"{{"type": "record", "name": "Bomb", "fields": [{}]}}"#, doubling.collect::<Vec<_>>().join(","));
    // Each holds the one before: flat as a text, a thousand levels deep as a value.
    let chained = (0..1000).map(|n| {
        let of = if n == 0 { r#""int""#.to_owned() } else { format!(r#""C{}""#, n - 1) };
        format!(r#"{{"name": "f{n}", "type": {{"type": "record", "name": "C{n}", "fields": [{{"name": "a", "type": {of}}}]}}}}"#)
    });
    let chained = chained.collect::<Vec<_>>().join(",");
    let chained = format!(r#"{{"type": "record", "name": "Chain", "fields": [{chained}]}}"#);
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    let checked = small.spawn(move || {
        for text in [nested(200_000), nested(101), records(34), "[".repeat(1_000_000)] {
            let error = AvroSchema::parse(&text).unwrap_err();
            assert!(error.to_string().contains("levels deep"), "{error}");
        }
        AvroSchema::parse(&nested(100)).unwrap();
        AvroSchema::parse(&records(33)).unwrap();
        for text in [doubling, chained] {
            let error = AvroSchema::parse(&text).unwrap_err();
            assert!(error.to_string().contains("too large"), "{error}");
        }
        for text in ["", "{", "null", "\"nothing\"", r#"{"type": "record"}"#, "\u{0}", "[[]]"] {
            assert_eq!(AvroSchema::parse(text).unwrap_err().kind(), ErrorKind::Serialization, "{text}");
        }
    });
    checked.unwrap().join().unwrap();
}

#[test]
fn a_value_that_does_not_fit_is_an_error_that_names_the_field() {
    #[derive(Serialize)]
    struct Other {
        id: i64,
    }
    let mut out = Vec::new();
    let error = schema(RUN).encode(&Other { id: 1 }, &mut out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialization);
    assert!(error.to_string().contains("id"), "{error}");
    schema(RUN).encode_value(&Value::Int(3), &mut out).unwrap_err();
}
