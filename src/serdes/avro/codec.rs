//! Values to bytes and back, by the cheapest way that the crate `apache-avro` has and that is safe.
//!
//! Rules this file keeps:
//! - serde types are written straight into the buffer, without a dynamic value between;
//! - they are read straight too when writer and reader agree, also in the names of structs; otherwise by way of a
//!   dynamic value, for only those can be resolved;
//! - an array whose items take no bytes is always read by way of a dynamic value, where its length is bounded.

use apache_avro::{
    Schema, error::Details, from_value, reader::datum::GenericDatumReader, schema::ResolvedSchema, types::Value,
    write_avro_datum_ref, writer::datum::GenericDatumWriter,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, ErrorKind, Result};

use super::{Prepared, shortened};

pub(super) fn encode<T: Serialize + ?Sized>(schema: &Prepared, value: &T, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    let names = schema.names().map_err(unwritable)?;
    write_avro_datum_ref(&schema.schema, names.get_names(), &value, out).map_err(unwritable)?;
    schema.strip_length(out, start);
    Ok(())
}

pub(super) fn encode_value(schema: &Prepared, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    let names = schema.names().map_err(unwritable)?;
    let writer = GenericDatumWriter::builder(&schema.schema).resolved_schemata(names).build().map_err(unwritable)?;
    writer.write_value_ref(out, value).map_err(unwritable)?;
    schema.strip_length(out, start);
    Ok(())
}

pub(super) fn decode<T: DeserializeOwned>(writer: &Prepared, reader: Option<&Prepared>, body: &[u8]) -> Result<T> {
    if reader.is_some() || writer.has_empty_items || writer.is_bytes() {
        return from_value(&decode_value(writer, reader, body)?).map_err(unreadable);
    }
    let names = writer.names().map_err(unreadable)?;
    let datum =
        GenericDatumReader::builder(&writer.schema).resolved_writer_schemata(names).build().map_err(unreadable)?;
    datum.read_deser(&mut &*body).or_else(|error| {
        if is_about_names(&error) {
            from_value(&decode_value(writer, reader, body)?).map_err(unreadable)
        } else {
            Err(unreadable(error))
        }
    })
}

pub(super) fn decode_value(writer: &Prepared, reader: Option<&Prepared>, body: &[u8]) -> Result<Value> {
    if writer.is_bytes() {
        return resolved(Value::Bytes(body.to_vec()), reader);
    }
    let names = writer.names().map_err(unreadable)?;
    let datum = GenericDatumReader::builder(&writer.schema).resolved_writer_schemata(names);
    let Some(reader) = reader else {
        return datum.build().and_then(|datum| datum.read_value(&mut &*body)).map_err(unreadable);
    };
    let names = reader.names().map_err(unreadable)?;
    let datum = datum.reader_schema(&reader.schema).resolved_reader_schemata(names).build().map_err(unreadable)?;
    datum.read_value(&mut &*body).map_err(unreadable)
}

/// Whether the direct way gave up only because a struct is not called what the record is called in the schema. The way
/// by dynamic values asks for no names.
fn is_about_names(error: &apache_avro::Error) -> bool {
    matches!(error.details(), Details::DeserializeSchemaAware { value, .. } if value.starts_with("Expected Schema::Record(name"))
}

fn resolved(value: Value, reader: Option<&Prepared>) -> Result<Value> {
    match reader {
        Some(reader) => value.resolve(&reader.schema).map_err(unreadable),
        None => Ok(value),
    }
}

impl Prepared {
    /// What references stand for. Free where there are none, which is the usual case.
    fn names(&self) -> Result<ResolvedSchema<'_>, apache_avro::Error> {
        if self.has_references {
            ResolvedSchema::new(&self.schema)
        } else {
            ResolvedSchema::new_with_schemata(Vec::new())
        }
    }

    fn is_bytes(&self) -> bool {
        matches!(self.schema, Schema::Bytes)
    }

    /// Takes away the length that Avro puts before the bytes of a top-level `bytes`.
    fn strip_length(&self, out: &mut Vec<u8>, start: usize) {
        if self.is_bytes() {
            let length = out.iter().skip(start).take_while(|byte| **byte >= 0x80).count() + 1;
            out.drain(start..start + length);
        }
    }
}

#[cold]
fn unwritable(error: apache_avro::Error) -> Error {
    Error::new(ErrorKind::Serialization, format!("the value does not fit its Avro schema: {}", shortened(&error)))
}

#[cold]
fn unreadable(error: apache_avro::Error) -> Error {
    Error::new(ErrorKind::Serialization, format!("the bytes could not be read as Avro: {}", shortened(&error)))
}
