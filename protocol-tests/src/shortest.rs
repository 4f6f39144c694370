//! The bodies with which a peer makes a reader take the most memory for the fewest bytes: everything as short as can be,
//! but for one long array of such elements.
//!
//! Rules this file keeps: a body is one that any correct reader accepts.

use milena::wire::{FieldSpec, Kind};

use crate::{
    catalog::Table,
    random::{put_length, put_uvarint},
};

/// A body for every array that the message has in this version, with `count` elements in it.
pub fn bodies(table: &Table, version: i16, count: usize) -> Vec<Vec<u8>> {
    let flexible = version >= table.flexible_from;
    paths(table.fields, version)
        .iter()
        .map(|path| {
            let mut writer = Writer { version, flexible, count, out: Vec::new() };
            writer.structure(table.fields, Some(path));
            writer.out
        })
        .collect()
}

/// Where the arrays are: the number of a field, then that of a field within, and so on.
fn paths(fields: &[FieldSpec], version: i16) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    for (number, field) in fields.iter().enumerate().filter(|(_, field)| exists(field, version)) {
        if matches!(field.kind, Kind::Array { .. }) {
            found.push(vec![number]);
        }
        let inner = paths(element(&field.kind).fields(), version);
        found.extend(inner.into_iter().map(|path| [&[number][..], &path].concat()));
    }
    found
}

fn exists(field: &FieldSpec, version: i16) -> bool {
    (field.rule.first..=field.rule.last).contains(&version)
}

fn element(kind: &Kind) -> &Kind {
    match kind {
        Kind::Array { of } => of,
        other => other,
    }
}

struct Writer {
    version: i16,
    flexible: bool,
    /// Of the long array.
    count: usize,
    out: Vec<u8>,
}

impl Writer {
    fn structure(&mut self, fields: &[FieldSpec], path: Option<&[usize]>) {
        let (version, on_path) = (self.version, path.and_then(|path| path.split_first()));
        let mut late = None;
        for (number, field) in fields.iter().enumerate().filter(|(_, field)| exists(field, version)) {
            let rest = on_path.filter(|(here, _)| **here == number).map(|(_, rest)| rest);
            if field.rule.tag.is_none() || version < field.rule.tagged_from {
                self.value(field, rest);
            } else if rest.is_some() {
                late = Some((field, rest));
            }
        }
        if self.flexible {
            put_uvarint(&mut self.out, u64::from(late.is_some()));
        }
        if let Some((field, rest)) = late {
            let outside = std::mem::take(&mut self.out);
            self.value(field, rest);
            let value = std::mem::replace(&mut self.out, outside);
            put_uvarint(&mut self.out, u64::from(field.rule.tag.unwrap_or_default()));
            put_uvarint(&mut self.out, value.len() as u64);
            self.out.extend(value);
        }
    }

    /// A field's value; `path` leads on within it, or ends at it.
    fn value(&mut self, field: &FieldSpec, path: Option<&[usize]>) {
        let flexible = self.flexible;
        self.flexible &= !field.rule.rigid;
        if matches!(field.kind, Kind::Struct { .. }) && self.version >= field.rule.nullable_from {
            self.out.push(1);
        }
        match (&field.kind, path) {
            (Kind::Array { of }, Some(path)) => {
                let (count, path) = if path.is_empty() { (self.count, None) } else { (1, Some(path)) };
                put_length(&mut self.out, count, self.flexible, false);
                (0..count).for_each(|_| self.some(of, path));
            }
            (kind, path) => self.some(kind, path),
        }
        self.flexible = flexible;
    }

    fn some(&mut self, kind: &Kind, path: Option<&[usize]>) {
        let width = match kind {
            Kind::Bool | Kind::Int8 => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Int32 | Kind::Uint32 => 4,
            Kind::Int64 | Kind::Float64 => 8,
            Kind::Uuid => 16,
            Kind::String | Kind::Bytes | Kind::Records | Kind::Array { .. } => {
                return put_length(&mut self.out, 0, self.flexible, matches!(kind, Kind::String));
            }
            Kind::Struct { fields, .. } => return self.structure(fields, path),
        };
        self.out.resize(self.out.len() + width, 0);
    }
}
