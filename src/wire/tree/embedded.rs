//! Structures that other messages carry as bytes.
//!
//! Rules this file keeps: bytes that do not read as the structure stay bytes; nobody is told that they are damaged,
//! because a group may put there what it likes.

use bytes::Bytes;

use super::{
    Tree,
    read::{Leftover, read},
};
use crate::wire::DATA;

/// Message, field, and the structure in it, with its version in front.
pub(super) const EMBEDDED: &[(&str, &str, &str)] = &[
    ("JoinGroupRequest", "metadata", "ConsumerProtocolSubscription"),
    ("JoinGroupResponse", "metadata", "ConsumerProtocolSubscription"),
    ("SyncGroupRequest", "assignment", "ConsumerProtocolAssignment"),
    ("SyncGroupResponse", "assignment", "ConsumerProtocolAssignment"),
    ("DescribeGroupsResponse", "member_metadata", "ConsumerProtocolSubscription"),
    ("DescribeGroupsResponse", "member_assignment", "ConsumerProtocolAssignment"),
];

/// What the assignors of Java put behind a subscription, newest first, without a version: only one fits the bytes.
pub(super) const USER_DATA: &[(&str, i16)] =
    &[("CooperativeStickyAssignorUserData", 0), ("StickyAssignorUserData", 1), ("StickyAssignorUserData", 0)];

/// The structure in the bytes of a message's field, if one is known and the bytes read as it.
pub fn embedded(message: &str, field: &str, bytes: &Bytes) -> Option<Tree> {
    if (message, field) == ("ConsumerProtocolSubscription", "user_data") {
        return USER_DATA.iter().find_map(|(structure, version)| whole(structure, *version, bytes));
    }
    let (_, _, structure) = EMBEDDED.iter().find(|(of, name, _)| (*of, *name) == (message, field))?;
    versioned(structure, bytes)
}

fn whole(structure: &str, version: i16, bytes: &Bytes) -> Option<Tree> {
    let table = DATA.iter().find(|table| table.name == structure)?;
    Some(Tree::read(table, version, bytes.clone())).filter(|tree| tree.fault.is_none())
}

/// A structure behind two bytes that say its version. What is newer than the table is read as its last version, and may
/// then have more behind it.
pub(super) fn versioned(structure: &str, bytes: &Bytes) -> Option<Tree> {
    let table = DATA.iter().find(|table| table.name == structure)?;
    let said = i16::from_be_bytes(*bytes.first_chunk()?);
    let leftover = if said > *table.versions.end() { Leftover::Allowed } else { Leftover::Fault };
    let tree = read(table, said.min(*table.versions.end()), bytes, 2, leftover);
    if tree.fault.is_some() { None } else { Some(Tree { version: said, ..tree }) }
}
