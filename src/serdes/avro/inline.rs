//! A schema without references: each is replaced by what it names, so that reading needs no lookup by name.
//!
//! Rules this file keeps:
//! - the result is bounded in nodes and depth; a schema that would be larger, or refers to itself, stays as it is.

use std::collections::HashMap;

use apache_avro::{
    Schema,
    schema::{Name, UnionSchema},
};

/// The schema with its references replaced, or `None` if it must keep them.
pub(super) fn inline(schema: &Schema, names: &HashMap<Name, &Schema>) -> Option<Schema> {
    let mut inlined = schema.clone();
    replace(&mut inlined, names, &mut { MAX_NODES }, 0).then_some(inlined)
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

/// `false` when a limit is reached; what was replaced until then is of no use.
fn replace(schema: &mut Schema, names: &HashMap<Name, &Schema>, nodes: &mut usize, depth: usize) -> bool {
    if *nodes == 0 || depth > super::limits::MAX_DEPTH {
        return false;
    }
    *nodes -= 1;
    match schema {
        Schema::Ref { name } => match names.get(name) {
            Some(named) => {
                *schema = (*named).clone();
                replace(schema, names, nodes, depth + 1)
            }
            None => false,
        },
        Schema::Array(array) => replace(&mut array.items, names, nodes, depth + 1),
        Schema::Map(map) => replace(&mut map.types, names, nodes, depth + 1),
        Schema::Record(record) => {
            record.fields.iter_mut().all(|field| replace(&mut field.schema, names, nodes, depth + 1))
        }
        Schema::Union(union) => {
            let mut variants = union.variants().to_vec();
            if !variants.iter_mut().all(|variant| replace(variant, names, nodes, depth + 1)) {
                return false;
            }
            match UnionSchema::new(variants) {
                Ok(inlined) => *union = inlined,
                Err(_) => return false,
            }
            true
        }
        _ => true,
    }
}

const MAX_NODES: usize = 10_000;
