//! What a schema text means to the registry: when two are the same, and when one can read the other.
//!
//! Rules this file keeps:
//! - the same Avro schema written with other spaces or another order of attributes is the same schema;
//! - without the feature `avro` every JSON text passes as a schema and everything is compatible.

use std::fmt::Write;

use serde_json::Value;

/// The text that an Avro schema is stored and compared by: compact, with attributes in the order that Java's Avro
/// writes them in, and `{"type": "int"}` as `"int"`.
pub(super) fn canonical(text: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut canonical = String::with_capacity(text.len());
    write(&value, Place::Schema, &mut canonical);
    Ok(canonical)
}

/// What a JSON value stands for, which decides how its attributes are ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Schema,
    Field,
    /// Not schema any more: defaults and custom properties.
    Data,
}

fn write(value: &Value, place: Place, out: &mut String) {
    match value {
        Value::Object(object) => {
            if let (Place::Schema, 1, Some(Value::String(name))) = (place, object.len(), object.get("type")) {
                return write_json(&Value::String(name.clone()), out);
            }
            let order = if place == Place::Field { FIELD_ORDER } else { SCHEMA_ORDER };
            let rank = |key: &str| order.iter().position(|known| *known == key).unwrap_or(order.len());
            let mut entries: Vec<_> = object.iter().collect();
            if place != Place::Data {
                entries.sort_by(|(one, _), (other, _)| rank(one).cmp(&rank(other)).then(one.cmp(other)));
            }
            list('{', entries, '}', out, |(key, value), out| {
                write_json(&Value::String(key.clone()), out);
                out.push(':');
                write(value, place.inside(key), out);
            });
        }
        Value::Array(array) => list('[', array, ']', out, |value, out| write(value, place, out)),
        other => write_json(other, out),
    }
}

impl Place {
    fn inside(self, key: &str) -> Self {
        match (self, key) {
            (Self::Data, _) => Self::Data,
            (_, "fields") => Self::Field,
            (_, "type" | "items" | "values") => Self::Schema,
            _ => Self::Data,
        }
    }
}

fn list<T>(
    open: char,
    items: impl IntoIterator<Item = T>,
    close: char,
    out: &mut String,
    mut put: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        put(item, out);
    }
    out.push(close);
}

fn write_json(value: &Value, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

const SCHEMA_ORDER: &[&str] = &["type", "name", "namespace", "doc", "fields", "symbols", "items", "values", "size"];
const FIELD_ORDER: &[&str] = &["name", "type", "doc", "default", "order", "aliases"];

/// Whether an Avro schema is one, given the texts that it refers to.
pub(super) fn check(text: &str, references: &[String]) -> Result<(), String> {
    avro::parse(text, references).map(drop)
}

/// Why `reader` cannot read what `writer` wrote; `None` if it can.
pub(super) fn conflict(writer: (&str, &[String]), reader: (&str, &[String])) -> Option<String> {
    match (avro::parse(writer.0, writer.1), avro::parse(reader.0, reader.1)) {
        (Ok(writer), Ok(reader)) => avro::conflict(&writer, &reader),
        (Err(why), _) | (_, Err(why)) => Some(why),
    }
}

#[cfg(feature = "avro")]
mod avro {
    use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};

    pub(super) fn parse(text: &str, references: &[String]) -> Result<Schema, String> {
        let parsed = if references.is_empty() {
            Schema::parse_str(text)
        } else {
            Schema::parse_str_with_list(text, references).map(|(schema, _)| schema)
        };
        parsed.map_err(|error| error.to_string())
    }

    pub(super) fn conflict(writer: &Schema, reader: &Schema) -> Option<String> {
        SchemaCompatibility::can_read(writer, reader).err().map(|error| error.to_string())
    }
}

#[cfg(not(feature = "avro"))]
mod avro {
    use serde_json::Value;

    pub(super) fn parse(text: &str, _: &[String]) -> Result<Value, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    pub(super) fn conflict(_: &Value, _: &Value) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_schema_has_one_text() {
        let expected = r#"{"type":"record","name":"User","namespace":"ex","fields":[{"name":"name","type":"string","default":{"b":1,"a":2}},{"name":"n","type":["null","int"]}]}"#;
        let variants = [
            expected.to_owned(),
            r#" { "name":"User", "namespace":"ex", "fields":[ {"type":{"type":"string"}, "name":"name", "default":{"b":1,"a":2}},
               {"name":"n","type":["null",{"type":"int"}]}], "type":"record" } "#
                .to_owned(),
        ];
        let texts: Vec<String> = variants.iter().map(|text| canonical(text).unwrap()).collect();
        assert_eq!(texts[0], texts[1]);
        assert!(texts[0].starts_with(
            r#"{"type":"record","name":"User","namespace":"ex","fields":[{"name":"name","type":"string","#
        ));
        assert_eq!(canonical(r#"{"type":"string"}"#).unwrap(), r#""string""#);
        assert_eq!(canonical(r#""string""#).unwrap(), r#""string""#);
        let logical = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
        assert_eq!(canonical(logical).unwrap(), logical);
        assert!(canonical("{").is_err());
    }
}
