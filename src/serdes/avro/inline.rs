//! A schema without references: each is replaced by what it names, so that reading needs no lookup by name.
//!
//! Rules this file keeps:
//! - a schema that refers to itself stays as it is;
//! - another may not become larger than a bound: a text of a few lines can stand for billions of values that take no
//!   bytes, and reading one record would never end.

use std::collections::HashMap;

use apache_avro::{
    Schema,
    schema::{Name, UnionSchema},
};

/// Why a schema keeps its references.
pub(super) enum Refused {
    /// It refers to itself.
    Recursive,
    /// It would be larger than [`MAX_NODES`].
    TooLarge,
}

/// The schema without references.
pub(super) fn inline(schema: &Schema, names: &HashMap<Name, &Schema>) -> Result<Schema, Refused> {
    let mut inlined = schema.clone();
    Walk { names, nodes: MAX_NODES, within: Vec::new() }.replace(&mut inlined)?;
    Ok(inlined)
}

/// Whether some array's items take no bytes: a few bytes could then announce any number of them.
pub(super) fn has_empty_items(schema: &Schema) -> bool {
    match schema {
        Schema::Array(array) => takes_no_bytes(&array.items) || has_empty_items(&array.items),
        Schema::Map(map) => has_empty_items(&map.types),
        Schema::Union(union) => union.variants().iter().any(has_empty_items),
        Schema::Record(record) => record.fields.iter().any(|field| has_empty_items(&field.schema)),
        _ => false,
    }
}

fn takes_no_bytes(schema: &Schema) -> bool {
    match schema {
        Schema::Null => true,
        Schema::Fixed(fixed) => fixed.size == 0,
        Schema::Record(record) => record.fields.iter().all(|field| takes_no_bytes(&field.schema)),
        _ => false,
    }
}

struct Walk<'a> {
    names: &'a HashMap<Name, &'a Schema>,
    nodes: usize,
    /// The records that the walk is inside of.
    within: Vec<Name>,
}

impl Walk<'_> {
    fn replace(&mut self, schema: &mut Schema) -> Result<(), Refused> {
        // References chain records to any depth, whatever the nesting of the text.
        if self.nodes == 0 || self.within.len() > super::limits::MAX_DEPTH {
            return Err(Refused::TooLarge);
        }
        self.nodes -= 1;
        match schema {
            Schema::Ref { name } => {
                if self.within.contains(name) {
                    return Err(Refused::Recursive);
                }
                if let Some(named) = self.names.get(name) {
                    *schema = (*named).clone();
                    return self.replace(schema);
                }
            }
            Schema::Array(array) => self.replace(&mut array.items)?,
            Schema::Map(map) => self.replace(&mut map.types)?,
            Schema::Record(record) => {
                self.within.push(record.name.clone());
                for field in &mut record.fields {
                    self.replace(&mut field.schema)?;
                }
                self.within.pop();
            }
            Schema::Union(union) => {
                let mut variants = union.variants().to_vec();
                for variant in &mut variants {
                    self.replace(variant)?;
                }
                // The variants are the same types as before, so that they make a union again.
                *union = UnionSchema::new(variants).map_err(|_| Refused::Recursive)?;
            }
            _ => {}
        }
        Ok(())
    }
}

pub(super) const MAX_NODES: usize = 50_000;
