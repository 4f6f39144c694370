//! Avro bodies: a schema made ready once, values written and read with it many times. No registry here.
//!
//! Rules this folder keeps:
//! - a schema's text comes from strangers: its nesting is bounded before it is parsed;
//! - bytes are read with the schema they were written with, and brought into the reader's form when that differs;
//! - a body of a top-level `bytes` schema has no length in front (Confluent's rule, not Avro's);
//! - bytes after the value are accepted, as Java's deserializer does by default.
//!
//! What is Avro in it is the crate `apache-avro`. Its limits hold for the whole process and can be set once;
//! `limits` sets them when the first schema is parsed. A program that wants others calls
//! `apache_avro::util::max_allocation_bytes` before.

use std::{fmt, sync::Arc};

use apache_avro::{
    Schema,
    error::Details,
    schema::{ResolvedSchema, SchemaKind},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, ErrorKind, Result};

pub use apache_avro::types::Value;

use inline::{MAX_NODES, Refused};

mod codec;
mod inline;
mod limits;
#[cfg(test)]
mod tests;

/// A type that knows its Avro schema.
///
/// The names of fields must be those of the schema; `serde(rename)` makes them so. Reading is twice as fast if the
/// names of structs are those of the records, too (without the namespace).
///
/// ```
/// use milena::serdes::avro::AvroRecord;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order { id: i64, item: String }
///
/// impl AvroRecord for Order {
///     const SCHEMA: &'static str = r#"{"type": "record", "name": "Order", "fields": [
///         {"name": "id", "type": "long"}, {"name": "item", "type": "string"}]}"#;
/// }
/// ```
pub trait AvroRecord {
    /// The schema in JSON.
    const SCHEMA: &'static str;
}

/// A parsed Avro schema. Cloning copies a pointer.
#[derive(Clone)]
pub struct AvroSchema(Arc<Prepared>);

struct Prepared {
    text: String,
    /// With every reference replaced by what it names, unless `has_references`.
    schema: Schema,
    /// The schema refers to itself.
    has_references: bool,
    /// Some array's items may take no bytes, so that its length is not bounded by the payload's.
    has_empty_items: bool,
    /// Equal for schemas whose bytes have the same layout and names.
    canonical: String,
}

impl AvroSchema {
    /// Reads a schema in JSON.
    ///
    /// # Errors
    /// `Serialization` if it is no valid schema or is nested too deeply.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_with(text, &[])
    }

    /// Reads a schema in JSON that uses the named types of others. Each of these may use those before it.
    ///
    /// # Errors
    /// `Serialization` if one is no valid schema, they are nested too deeply together, or a type is missing.
    pub fn parse_with(text: &str, others: &[&str]) -> Result<Self> {
        limits::apply();
        limits::check_nesting(others.iter().copied().chain([text]))?;
        let parsed = if others.is_empty() { Schema::parse_str(text) } else { parse_with_others(text, others) };
        let schema = parsed.map_err(|error| bad_schema(text, error))?;
        let names = ResolvedSchema::new(&schema).map_err(|error| bad_schema(text, error))?;
        let canonical = schema.canonical_form();
        let (schema, has_references) = match inline::inline(&schema, names.get_names()) {
            Ok(inlined) => (inlined, false),
            Err(Refused::Recursive) => (schema, true),
            Err(Refused::TooLarge) => return Err(too_large()),
        };
        let has_empty_items = has_references || inline::has_empty_items(&schema);
        Ok(Self(Arc::new(Prepared { text: text.to_owned(), schema, has_references, has_empty_items, canonical })))
    }

    /// The text that was parsed.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The name with the namespace, if the schema is that of a named type.
    pub fn full_name(&self) -> Option<String> {
        self.0.schema.name().map(|name| name.fullname(None))
    }

    /// Whether bytes written with one can be read with the other as they are.
    pub fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.canonical == other.0.canonical
    }

    /// Appends the body of `value`.
    ///
    /// # Errors
    /// `Serialization` if the value does not fit the schema; what was appended until then stays in `out`.
    pub fn encode<T: Serialize + ?Sized>(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        codec::encode(&self.0, value, out)
    }

    /// Appends the body of a dynamic value, which is checked against the schema.
    ///
    /// # Errors
    /// `Serialization` if the value does not fit the schema; what was appended until then stays in `out`.
    pub fn encode_value(&self, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        codec::encode_value(&self.0, value, out)
    }

    /// Reads a body that was written with this schema, for a reader whose schema is `reader`.
    ///
    /// # Errors
    /// `Serialization` if the bytes are cut or damaged, or the schemas do not go together.
    pub fn decode<T: DeserializeOwned>(&self, reader: &Self, body: &[u8]) -> Result<T> {
        codec::decode(&self.0, (!self.is_same_as(reader)).then_some(&*reader.0), body)
    }

    /// Reads a body that was written with this schema into a dynamic value, in the form of `reader` if given.
    ///
    /// # Errors
    /// `Serialization` if the bytes are cut or damaged, or the schemas do not go together.
    pub fn decode_value(&self, reader: Option<&Self>, body: &[u8]) -> Result<Value> {
        codec::decode_value(&self.0, reader.map(|reader| &*reader.0), body)
    }
}

impl fmt::Debug for AvroSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

fn parse_with_others(text: &str, others: &[&str]) -> Result<Schema, apache_avro::Error> {
    let (mut schema, others) = Schema::parse_str_with_list(text, others)?;
    schema.denormalize(&others)?;
    Ok(schema)
}

#[cold]
fn too_large() -> Error {
    let text =
        format!("the Avro schema is too large: written out without references it has more than {MAX_NODES} types");
    Error::new(ErrorKind::Serialization, text)
}

#[cold]
fn bad_schema(text: &str, error: apache_avro::Error) -> Error {
    let start: String = text.chars().take(100).collect();
    let error = shortened(&error);
    Error::new(ErrorKind::Serialization, format!("not a valid Avro schema: {error} (it starts with {start})"))
}

/// The crate's errors may repeat whole schemas and values.
fn shortened(error: &apache_avro::Error) -> String {
    let text = match error.details() {
        // The reason stands behind the schema.
        Details::DeserializeSchemaAware { value_type, value, schema } => {
            let at =
                schema.name().map_or_else(|| format!("{:?}", SchemaKind::from(schema)), |name| name.fullname(None));
            return format!("a {value_type} cannot be read from {at}: {value}");
        }
        Details::SerializeRecordFieldWithSchema { field_name, error, record_schema } => {
            return format!("field {field_name} of {}: {error}", record_schema.name.fullname(None));
        }
        _ => error.to_string(),
    };
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
