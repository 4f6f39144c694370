//! The answer to any request that says nothing but an error code, as Kafka's own requests can make it of themselves.
//!
//! It goes by the tables of the messages, as [`guard`](super::guard) does: what a response has in common with its request
//! by name (topics, partitions, ids) is repeated, every `error_code` is the one wanted, everything else is the default.
//!
//! Rules this file keeps: a request that passed the guard gets an answer that can be read, whatever it asked.

use bytes::Bytes;

use crate::wire::{
    Api, At, FieldSpec, Kind, Place, Table,
    tree::{Node, Tree, Value},
};

/// The body of the answer to `request`, a body too, with this error code everywhere.
pub(super) fn of(api: &Api, version: i16, request: &Bytes, code: i16) -> Vec<u8> {
    let tree = Tree::read(&api.request, version, request.clone());
    let mut answer = Answer { out: Vec::new(), request, code };
    answer.structure(api.response.fields, at(&api.response, version), Some(&tree.root));
    answer.out
}

/// The shortest body of a message: defaults only.
#[cfg(test)]
pub(super) fn shortest(table: &Table, version: i16) -> Vec<u8> {
    let mut answer = Answer { out: Vec::new(), request: &[], code: 0 };
    answer.structure(table.fields, at(table, version), None);
    answer.out
}

fn at(table: &Table, version: i16) -> At {
    At { version, flexible: version >= table.flexible_from, nullable: false }
}

struct Answer<'a> {
    out: Vec<u8>,
    request: &'a [u8],
    code: i16,
}

impl Answer<'_> {
    /// `source` is what the structure answers to: a structure of the request, or a single value.
    fn structure(&mut self, fields: &'static [FieldSpec], at: At, source: Option<&Node>) {
        let mut single = source.filter(|node| !matches!(node.value, Value::Struct(_)));
        for field in fields.iter().filter(|field| field.rule.place(at) == Place::Plain) {
            let at = field.rule.at(at);
            let named = source.and_then(|source| of_name(source, field.name));
            let same = named.or(single).filter(|node| alike(node.kind, &field.kind) && !is_null(node));
            match (&field.kind, same) {
                (Kind::Int16, _) if field.name.ends_with("error_code") => self.put(&self.code.to_be_bytes()),
                (Kind::Struct { .. }, _) if at.nullable => self.put(&[0xff]),
                (Kind::Struct { fields, .. }, _) => self.structure(fields, at, source),
                (Kind::Array { of }, _) => self.array(field.name, of, at, source),
                (_, Some(node)) => {
                    if single.is_some_and(|single| std::ptr::eq(single, node)) {
                        single = None;
                    }
                    let bytes = self.request.get(node.bytes.clone()).unwrap_or_default();
                    self.put(bytes);
                }
                (kind, None) => self.default_of(field, kind, at),
            }
        }
        if at.flexible {
            self.put(&[0]);
        }
    }

    fn array(&mut self, name: &str, of: &'static Kind, at: At, source: Option<&Node>) {
        let repeated = source.and_then(|source| repeats(source, name));
        let (Kind::Struct { fields, .. }, Some(array)) = (of, repeated) else { return self.count(0, at) };
        let elements = array.children();
        self.count(elements.len(), at);
        let at = At { nullable: false, ..at };
        elements.iter().for_each(|element| self.structure(fields, at, Some(element)));
    }

    fn count(&mut self, count: usize, at: At) {
        if !at.flexible {
            return self.put(&u32::try_from(count).unwrap_or_default().to_be_bytes());
        }
        let mut left = count + 1;
        while left >= 0x80 {
            self.put(&[left as u8 | 0x80]);
            left >>= 7;
        }
        self.put(&[left as u8]);
    }

    fn default_of(&mut self, field: &FieldSpec, kind: &Kind, at: At) {
        let number = (field.default)().parse::<i64>().unwrap_or_default().to_be_bytes();
        let size = match kind {
            Kind::Bool | Kind::Int8 => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Int32 | Kind::Uint32 => 4,
            Kind::Int64 => 8,
            Kind::Float64 => return self.put(&[0; 8]),
            Kind::Uuid => return self.put(&[0; 16]),
            // Null where it may be, else empty.
            Kind::String | Kind::Bytes | Kind::Records if at.flexible => return self.put(&[u8::from(!at.nullable)]),
            Kind::String => return self.put(if at.nullable { &[0xff; 2] } else { &[0; 2] }),
            Kind::Bytes | Kind::Records => return self.put(if at.nullable { &[0xff; 4] } else { &[0; 4] }),
            Kind::Array { .. } | Kind::Struct { .. } => return,
        };
        self.put(&number[8 - size..]);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

fn of_name<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.children().iter().find(|child| child.name == name)
}

/// The array of a request that an array of its response answers to.
fn repeats<'a>(request: &'a Node, name: &str) -> Option<&'a Node> {
    let other = ANSWERS.iter().find(|(answer, _)| *answer == name).map_or(&[][..], |(_, asked)| *asked);
    let names = std::iter::once(name).chain(other.iter().copied());
    names.filter_map(|name| of_name(request, name)).find(|node| matches!(node.value, Value::Array(_)))
}

fn is_null(node: &Node) -> bool {
    matches!(node.value, Value::Null)
}

/// Whether values of two types look the same on the wire.
fn alike(one: &Kind, other: &Kind) -> bool {
    let simple = !matches!(one, Kind::Array { .. } | Kind::Struct { .. } | Kind::Records);
    simple && std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Arrays of responses whose requests call the same things otherwise.
const ANSWERS: &[(&str, &[&str])] = &[
    ("responses", &["topics", "topic_data", "topic_names", "resources", "configs"]),
    ("results", &["topics", "resources", "groups_names", "creations", "filters"]),
    ("results_by_transaction", &["transactions"]),
    ("results_by_topic_v3_and_below", &["v3_and_below_topics"]),
    ("topic_results", &["topics"]),
    ("results_by_partition", &["partitions"]),
    ("partitions", &["partition_indexes", "partition_index"]),
    ("groups", &["group_ids"]),
    ("coordinators", &["coordinator_keys"]),
    ("transaction_states", &["transactional_ids"]),
];
