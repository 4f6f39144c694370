//! A request for every version of every API, written from the tables: what the Java client would not send.
//!
//! Rules this file keeps:
//! - a field is its default, an array has one element, unless [`World::say`] says otherwise;
//! - a tagged field is written only where something is said of it;
//! - the bytes are written here and not by milena's codec, so that a broker's answer judges the tables alone.

use milena::wire::{FieldSpec, Kind, Table};

use crate::world::{Value, World};

/// The body of a request.
pub(crate) fn body(table: &Table, version: i16, world: &World) -> Vec<u8> {
    let message = table.name.trim_end_matches("Request");
    let mut out = Out { message, version, flexible: version >= table.flexible_from, world, bytes: Vec::new() };
    out.structure(table.fields);
    out.bytes
}

struct Out<'a> {
    message: &'a str,
    version: i16,
    flexible: bool,
    world: &'a World,
    bytes: Vec<u8>,
}

impl Out<'_> {
    fn structure(&mut self, fields: &[FieldSpec]) {
        let version = self.version;
        let here = fields.iter().filter(|field| (field.rule.first..=field.rule.last).contains(&version));
        let is_tagged = |field: &FieldSpec| field.rule.tag.is_some() && version >= field.rule.tagged_from;
        for field in here.filter(|field| !is_tagged(field)) {
            let value = self.world.say(self.message, field);
            self.field(field, &value);
        }
        if self.flexible {
            self.uvarint(0);
        }
    }

    fn field(&mut self, field: &FieldSpec, value: &Value) {
        let nullable = self.version >= field.rule.nullable_from;
        let default = (field.default)();
        let null = match value {
            Value::Null => true,
            Value::Default => default == "None",
            _ => false,
        };
        if nullable && null {
            return self.null(&field.kind);
        }
        if nullable && matches!(field.kind, Kind::Struct { .. }) {
            self.bytes.push(1);
        }
        self.some(&field.kind, value, &default);
    }

    fn null(&mut self, kind: &Kind) {
        match kind {
            Kind::Struct { .. } => self.bytes.push(0xff),
            _ if self.flexible => self.bytes.push(0),
            Kind::String => self.bytes.extend((-1i16).to_be_bytes()),
            _ => self.bytes.extend((-1i32).to_be_bytes()),
        }
    }

    fn some(&mut self, kind: &Kind, value: &Value, default: &str) {
        match kind {
            Kind::Bool => self.bytes.push(u8::from(match value {
                Value::Bool(value) => *value,
                _ => default == "true",
            })),
            Kind::Int8 => self.integer(1, value, default),
            Kind::Int16 | Kind::Uint16 => self.integer(2, value, default),
            Kind::Int32 | Kind::Uint32 => self.integer(4, value, default),
            Kind::Int64 => self.integer(8, value, default),
            Kind::Float64 => self.bytes.extend(1e6f64.to_be_bytes()),
            Kind::Uuid => self.bytes.extend(match value {
                Value::Uuid(uuid) => *uuid,
                _ => [0; 16],
            }),
            Kind::String => {
                let text = match value {
                    Value::Text(text) => text.as_bytes().to_vec(),
                    _ => Vec::new(),
                };
                self.length(text.len(), true);
                self.bytes.extend(text);
            }
            Kind::Bytes | Kind::Records => {
                let bytes = match value {
                    Value::Bytes(bytes) => bytes.clone(),
                    _ => Vec::new(),
                };
                self.length(bytes.len(), false);
                self.bytes.extend(bytes);
            }
            Kind::Array { of } => {
                let count = usize::from(!matches!(value, Value::Empty));
                self.length(count, false);
                (0..count).for_each(|_| self.some(of, value, ""));
            }
            Kind::Struct { fields, .. } => self.structure(fields),
        }
    }

    fn integer(&mut self, width: usize, value: &Value, default: &str) {
        let number = match value {
            Value::Int(number) => *number,
            _ => default.parse().unwrap_or(0),
        };
        self.bytes.extend(&number.to_be_bytes()[8 - width..]);
    }

    fn length(&mut self, length: usize, short: bool) {
        match (self.flexible, short) {
            (true, _) => self.uvarint(length as u64 + 1),
            (false, true) => self.bytes.extend((length as u16).to_be_bytes()),
            (false, false) => self.bytes.extend((length as u32).to_be_bytes()),
        }
    }

    fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}
