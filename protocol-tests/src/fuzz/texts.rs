//! Texts and payloads: Confluent frames, Avro bodies, properties.

use std::sync::OnceLock;

use milena::{
    properties::Properties,
    security::Security,
    serdes::{
        avro::{AvroSchema, Value},
        wire_format::{PREFIX_LEN, read_prefix, write_prefix},
    },
};

use super::Tape;

/// Target `confluent_frame`: what is a frame is written as it was; what is not is an error that shows it.
pub(super) fn confluent_frame(input: &[u8]) {
    match read_prefix(input) {
        Ok((id, body)) => {
            let mut written = Vec::new();
            write_prefix(id, &mut written);
            assert_eq!(written.len(), PREFIX_LEN);
            written.extend_from_slice(body);
            assert_eq!(written, input);
        }
        Err(error) => assert!(error.to_string().len() < 300, "an error that repeats the payload"),
    }
}

/// Target `avro`: any bytes as a body, by a writer's and a reader's schema.
pub(super) fn avro(input: &[u8]) {
    let mut tape = Tape::new(input);
    let schemas = schemas();
    let writer = &schemas[usize::from(tape.byte()) % schemas.len()];
    let reader = &schemas[usize::from(tape.byte()) % schemas.len()];
    let body = tape.rest();
    if let Ok(value) = writer.decode_value(None, body) {
        let mut written = Vec::new();
        writer.encode_value(&value, &mut written).expect("a value that was read");
        let again = writer.decode_value(None, &written).expect("a body that was written");
        assert!(same(&again, &value), "{again:?} was {value:?}");
    }
    let _ = writer.decode_value(Some(reader), body);
}

/// Equal, where a float that is not a number equals itself.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
        (Value::Double(one), Value::Double(other)) => one.to_bits() == other.to_bits(),
        (Value::Union(one_at, one), Value::Union(other_at, other)) => one_at == other_at && same(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        (Value::Record(one), Value::Record(other)) => {
            let equal = |((name, one), (other_name, other)): (&(String, Value), &(String, Value))| {
                name == other_name && same(one, other)
            };
            one.len() == other.len() && one.iter().zip(other).all(equal)
        }
        _ => one == other,
    }
}

fn schemas() -> &'static [AvroSchema] {
    static SCHEMAS: OnceLock<Vec<AvroSchema>> = OnceLock::new();
    SCHEMAS.get_or_init(|| SCHEMA_TEXTS.iter().map(|text| AvroSchema::parse(text).expect(text)).collect())
}

/// Target `properties`: any text as a `.properties` file. What was read can be printed and read again.
pub(super) fn properties(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(properties) = Properties::parse(&text) else { return };
    let printed = properties.names().map(|name| {
        let value = properties.value(name).expect("a name that is there");
        format!("{} = {}\n", escaped(name), escaped(value))
    });
    let again = Properties::parse(&printed.collect::<String>()).expect("a text that was printed");
    assert!(again == properties, "{again:?} was {properties:?}");

    let _ = (properties.notes(), format!("{properties:?}"));
    let security = Security::from_properties(&|name| properties.value(name).map(str::to_owned));
    let _ = format!("{security:?}");
    // To find what an unknown name may have meant takes a tenth of a second under the sanitizer: one input in eight does.
    if !input.len().is_multiple_of(8) {
        return;
    }
    match properties.check() {
        Ok(()) => {
            let read = [
                properties.client().map(drop),
                properties.consumer().map(drop),
                properties.producer().map(drop),
                properties.registry().map(drop),
            ];
            assert!(read.iter().all(Result::is_ok), "{read:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The text as `.properties` says it whatever it is: every UTF-16 unit by its number.
fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Each kind of type, a type that holds itself, and a later form of a record. No array of nulls: a few bytes may then be
/// a million values, and the only bound is that of one array.
const SCHEMA_TEXTS: &[&str] = &[
    r#""string""#,
    r#"{"type": "array", "items": "long"}"#,
    r#"{"type": "array", "items": ["null", "int"]}"#,
    r#"{"type": "map", "values": {"type": "array", "items": "string"}}"#,
    r#"["null", "double", {"type": "fixed", "name": "Four", "size": 4}, {"type": "enum", "name": "Suit", "symbols": ["A", "B"]}]"#,
    r#"{"type": "record", "name": "List", "fields": [
        {"name": "value", "type": "int"}, {"name": "next", "type": ["null", "List"]}]}"#,
    r#"{"type": "record", "name": "Tree", "fields": [{"name": "children", "type": {"type": "array", "items": "Tree"}}]}"#,
    r#"{"type": "record", "name": "Order", "fields": [
        {"name": "id", "type": "long"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "uuid", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "paid", "type": "boolean"}, {"name": "note", "type": ["null", "string"]}]}"#,
    r#"{"type": "record", "name": "Order", "fields": [
        {"name": "id", "type": "double"}, {"name": "note", "type": ["null", "string", "long"], "default": null},
        {"name": "more", "type": {"type": "map", "values": "float"}, "default": {}}]}"#,
];
