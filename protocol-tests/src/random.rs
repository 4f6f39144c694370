//! Random bodies, written from the tables by a second writer that shares no line with milena's.
//!
//! Rules this file keeps:
//! - everything follows from the seed;
//! - what is written is canonical: a tagged field is there only with a value other than its default, so that any
//!   correct reader and writer gives back the same bytes.

use fastrand::Rng;
use milena::wire::{FieldSpec, Kind};

use crate::catalog::Table;

/// A body of this message in this version.
pub fn body(table: &Table, version: i16, seed: u64) -> Vec<u8> {
    body_about(table, version, seed, &About::default())
}

/// What a body speaks of, so that it means something to whoever reads it. Nothing by default: all is random then.
#[derive(Debug, Default)]
pub struct About {
    /// What most strings are one of.
    pub strings: Vec<String>,
    /// What most ids are one of.
    pub uuids: Vec<u128>,
    /// What most records are one of.
    pub records: Vec<Vec<u8>>,
}

/// A body of this message in this version that mostly speaks of certain things.
pub fn body_about(table: &Table, version: i16, seed: u64, about: &About) -> Vec<u8> {
    let flexible = version >= table.flexible_from;
    let mut writer = BodyWriter { rng: Rng::with_seed(seed), about, version, flexible, out: Vec::new() };
    writer.structure(table.fields, false);
    writer.out
}

struct BodyWriter<'a> {
    rng: Rng,
    about: &'a About,
    version: i16,
    flexible: bool,
    out: Vec<u8>,
}

impl BodyWriter<'_> {
    /// The fields of a structure; where it `differs`, the first is not its default and so the whole is not.
    fn structure(&mut self, fields: &[FieldSpec], differs: bool) {
        let version = self.version;
        let exists = |field: &&FieldSpec| (field.rule.first..=field.rule.last).contains(&version);
        let is_tagged = |field: &&FieldSpec| field.rule.tag.is_some() && version >= field.rule.tagged_from;
        for (index, field) in fields.iter().filter(exists).filter(|field| !is_tagged(field)).enumerate() {
            self.value(field, differs && index == 0);
        }
        if !self.flexible {
            return;
        }
        let mut tagged: Vec<&FieldSpec> =
            fields.iter().filter(exists).filter(is_tagged).filter(|_| self.rng.bool()).collect();
        tagged.sort_by_key(|field| field.rule.tag);
        self.uvarint(tagged.len() as u64);
        for field in tagged {
            let outside = std::mem::take(&mut self.out);
            self.value(field, true);
            let value = std::mem::replace(&mut self.out, outside);
            self.uvarint(u64::from(field.rule.tag.unwrap_or_default()));
            self.uvarint(value.len() as u64);
            self.out.extend(value);
        }
    }

    /// A value of the field; where it `differs`, one that is not its default.
    fn value(&mut self, field: &FieldSpec, differs: bool) {
        let flexible = self.flexible;
        self.flexible &= !field.rule.rigid;
        self.value_or_null(field, differs);
        self.flexible = flexible;
    }

    fn value_or_null(&mut self, field: &FieldSpec, differs: bool) {
        let nullable = self.version >= field.rule.nullable_from;
        let default = (field.default)();
        if nullable && self.rng.u8(..4) == 0 && !(differs && default == "None") {
            return self.null(&field.kind);
        }
        if nullable && matches!(field.kind, Kind::Struct { .. }) {
            self.out.push(1);
        }
        let differs = differs.then_some(default.as_str());
        self.some(&field.kind, differs);
    }

    /// One of the things that the body is mostly about; `None` one time in four, and where there are none.
    fn known<'k, T>(&mut self, known: &'k [T]) -> Option<&'k T> {
        if known.is_empty() || self.rng.u8(..4) == 0 { None } else { self.rng.choice(known) }
    }

    fn null(&mut self, kind: &Kind) {
        match kind {
            Kind::Struct { .. } => self.out.push(0xff),
            _ if self.flexible => self.out.push(0),
            Kind::String => self.out.extend((-1i16).to_be_bytes()),
            _ => self.out.extend((-1i32).to_be_bytes()),
        }
    }

    fn some(&mut self, kind: &Kind, differs_from: Option<&str>) {
        let least = usize::from(differs_from.is_some());
        match kind {
            Kind::Bool => {
                let value = match differs_from {
                    Some(default) => default != "true",
                    None => self.rng.bool(),
                };
                self.out.push(u8::from(value));
            }
            Kind::Int8 => self.integer(1, differs_from),
            Kind::Int16 | Kind::Uint16 => self.integer(2, differs_from),
            Kind::Int32 | Kind::Uint32 => self.integer(4, differs_from),
            Kind::Int64 => self.integer(8, differs_from),
            Kind::Float64 => self.out.extend(self.rng.f64().to_be_bytes()),
            Kind::Uuid => {
                let known = self.known(&self.about.uuids).copied();
                let id = known.unwrap_or_else(|| self.rng.u128(1..));
                self.out.extend(id.to_be_bytes());
            }
            Kind::String => {
                let known = self.known(&self.about.strings).cloned();
                let text: String = known
                    .unwrap_or_else(|| (0..self.rng.usize(least..8)).map(|_| self.rng.char('a'..='\u{400}')).collect());
                self.length(text.len(), true);
                self.out.extend(text.as_bytes());
            }
            Kind::Records if !self.about.records.is_empty() => {
                let records = self.known(&self.about.records).cloned().unwrap_or_default();
                self.length(records.len(), false);
                self.out.extend(records);
            }
            Kind::Bytes | Kind::Records => {
                let length = self.rng.usize(least..200);
                self.length(length, false);
                self.out.extend((0..length).map(|index| index as u8));
            }
            Kind::Array { of } => {
                let count = self.rng.usize(least..4);
                self.length(count, false);
                (0..count).for_each(|_| self.some(of, None));
            }
            Kind::Struct { fields, .. } => self.structure(fields, differs_from.is_some()),
        }
    }

    fn integer(&mut self, width: usize, differs_from: Option<&str>) {
        let default = differs_from.and_then(|default| if default == "NONE" { Some(0) } else { default.parse().ok() });
        let interesting = [0, 1, -1, 2, 127, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN];
        loop {
            let value = if self.rng.bool() {
                interesting[self.rng.usize(..interesting.len())]
            } else {
                self.rng.i64(..) >> self.rng.u32(..64)
            };
            let bytes = &value.to_be_bytes()[8 - width..];
            let unused = 64 - 8 * width as u32;
            if default != Some(value << unused >> unused) {
                return self.out.extend(bytes);
            }
        }
    }

    fn length(&mut self, length: usize, short: bool) {
        put_length(&mut self.out, length, self.flexible, short);
    }

    fn uvarint(&mut self, value: u64) {
        put_uvarint(&mut self.out, value);
    }
}

/// The length in front of a value; `short` is that of a string.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize, flexible: bool, short: bool) {
    match (flexible, short) {
        (true, _) => put_uvarint(out, length as u64 + 1),
        (false, true) => out.extend((length as i16).to_be_bytes()),
        (false, false) => out.extend((length as i32).to_be_bytes()),
    }
}

pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push((value & 0x7f | 0x80) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}
