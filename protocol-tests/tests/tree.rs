//! The reader of `milena decode` against random bodies of every message in every version: each byte of a body has its
//! one place in the tree, in order; a cut body keeps what was read; nothing takes more memory than a stated multiple.

mod counting;

use bytes::Bytes;
use counting::counted;
use milena::wire::tree::{Node, Tree, Value};
use protocol_tests::{
    catalog::{Table, catalog},
    random, tree_of,
};

/// How many bodies of each message in each version.
const BODIES: u64 = 50;

/// Bytes of memory to a byte of the body, at worst: a node of 96 bytes to a byte, in a list that doubles while its old
/// half is still there.
const MULTIPLE: usize = 300;

/// What any tree may take besides: its smallest lists, the way to a fault.
const AT_LEAST: usize = 2 << 10;

#[test]
fn every_byte_of_every_body_has_one_place() {
    each_body(BODIES, |table, version, seed, body| {
        let tree = tree_of(table, version, body.clone());
        let what = || format!("{} version {version}, seed {seed}: {tree}", table.name);
        assert_eq!(tree.fault, None, "{}", what());
        assert_eq!(tree.root.bytes, 0..body.len(), "{}", what());
        covers(&tree.root).unwrap_or_else(|why| panic!("{why}: {}", what()));
        // Whatever the values are, they can be printed.
        assert!(tree.to_string().starts_with(table.name), "{}", what());
    });
}

#[test]
fn a_cut_body_keeps_what_stands_before_the_cut() {
    each_body(1, |table, version, seed, body| {
        let whole = tree_of(table, version, body.clone());
        for end in 0..body.len() {
            let tree = tree_of(table, version, body.slice(..end));
            let what = || format!("{} version {version}, seed {seed}, cut at {end}", table.name);
            let fault = tree.fault.as_ref().unwrap_or_else(|| panic!("{} and read", what()));
            assert!(fault.at <= end && tree.root.bytes.end <= end, "{}: {fault}", what());
            covers(&tree.root).unwrap_or_else(|why| panic!("{why}: {}", what()));
            // Nothing that fits before the cut is lost.
            let (kept, all) = (leaves(&tree.root), leaves(&whole.root));
            let fitting = all.iter().take_while(|range| range.end <= end).count();
            let lost = all.get(kept.len()..fitting.max(kept.len())).unwrap_or_default();
            assert!(lost.is_empty(), "{}: {lost:?} is lost in {tree}", what());
        }
    });
}

#[test]
fn any_byte_may_be_changed_and_memory_stays_bounded() {
    each_body(1, |table, version, seed, body| {
        for at in 0..body.len() {
            for change in [0xff, 0x80, 0x7f, 0x01] {
                let mut changed = body.to_vec();
                changed[at] ^= change;
                let what = || format!("{} version {version}, seed {seed}, byte {at} ^ {change:#x}", table.name);
                let changed = Bytes::from(changed);
                let (_, peak) = counted(|| tree_of(table, version, changed.clone()));
                let tree = tree_of(table, version, changed);
                covers(&tree.root).unwrap_or_else(|why| panic!("{why}: {}\n{tree}", what()));
                let limit = AT_LEAST + MULTIPLE * body.len();
                assert!(peak <= limit, "{peak} bytes for a body of {}: {}", body.len(), what());
            }
        }
    });
}

fn each_body(bodies: u64, mut check: impl FnMut(&Table, i16, u64, Bytes)) {
    for table in catalog() {
        for version in table.versions.clone() {
            (0..bodies).for_each(|seed| check(&table, version, seed, random::body(&table, version, seed).into()));
        }
    }
}

/// A node's bytes are its head and then its children's, without a gap.
fn covers(node: &Node) -> Result<(), String> {
    if is_leaf(node) {
        return if node.bytes.len() >= node.head {
            Ok(())
        } else {
            Err(format!("{} is shorter than its head", node.name))
        };
    }
    let mut at = node.bytes.start + node.head;
    for child in node.children() {
        if child.bytes.start != at {
            return Err(format!("{} begins at {}, not at {at}", child.name, child.bytes.start));
        }
        covers(child)?;
        at = child.bytes.end;
    }
    if at == node.bytes.end { Ok(()) } else { Err(format!("{} ends at {}, not at {at}", node.name, node.bytes.end)) }
}

fn leaves(node: &Node) -> Vec<std::ops::Range<usize>> {
    if is_leaf(node) { vec![node.bytes.clone()] } else { node.children().iter().flat_map(leaves).collect() }
}

fn is_leaf(node: &Node) -> bool {
    !matches!(node.value, Value::Array(_) | Value::Struct(_) | Value::Tags(_))
}

#[test]
fn the_check_sees_gaps() {
    let metadata = catalog().into_iter().find(|table| table.name == "MetadataRequest").expect("a table");
    let body = random::body(&metadata, 9, 3).into();
    let tree: Tree = tree_of(&metadata, 9, body);
    covers(&tree.root).expect("no gap");
    let mut moved = tree.root.clone();
    moved.head += 1;
    assert!(covers(&moved).is_err());
    moved.head -= 1;
    moved.bytes.end += 1;
    assert!(covers(&moved).is_err());
}
