//! Every message at every version, cut at every byte and with every byte changed: an error or a value, never a panic,
//! and never more memory than a stated multiple of the frame.

mod counting;

use bytes::Bytes;
use counting::counted;
use milena::wire::{self, DecodeFault, messages::*};
use protocol_tests::{
    catalog::{Table, catalog},
    random,
};

/// Bodies of each message in each version.
const BODIES: u64 = 4;

/// Bytes of memory to a byte of the frame, at worst. A structure with a name and two lists is a hundred bytes large
/// and may be five bytes on the wire; lists grow by doubling. What every frame may take besides is [`AT_LEAST`].
const MULTIPLE: usize = 100;

/// A list reserves room for at most a thousand elements ahead of reading them.
const AT_LEAST: usize = 512 << 10;

fn survives(table: &Table, version: i16, body: Bytes, what: impl Fn() -> String) {
    let length = body.len();
    let (_, peak) = counted(|| (table.ours)(body, version));
    let limit = AT_LEAST + MULTIPLE * length;
    assert!(peak <= limit, "{peak} bytes for a frame of {length}: {} version {version}, {}", table.name, what());
}

fn every_body(mut check: impl FnMut(&Table, i16, Vec<u8>, u64)) {
    for table in catalog() {
        for version in table.versions.clone() {
            (0..BODIES).for_each(|seed| check(&table, version, random::body(&table, version, seed), seed));
        }
    }
}

#[test]
fn every_message_may_be_cut_at_every_byte() {
    every_body(|table, version, body, seed| {
        let body = Bytes::from(body);
        for end in 0..body.len() {
            let cut = (table.ours)(body.slice(..end), version);
            assert!(cut.is_err(), "{} version {version}, seed {seed}: cut at {end} and read", table.name);
            survives(table, version, body.slice(..end), || format!("seed {seed}, cut at {end}"));
        }
    });
}

#[test]
fn every_byte_of_every_message_may_be_changed() {
    every_body(|table, version, body, seed| {
        for at in 0..body.len() {
            for change in [0xff, 0x80, 0x7f, 0x01] {
                let mut changed = body.clone();
                changed[at] ^= change;
                survives(table, version, changed.into(), || format!("seed {seed}, byte {at} ^ {change:#x}"));
            }
        }
    });
}

#[test]
fn every_place_may_hold_the_largest_and_the_smallest_length() {
    // Four bytes for a plain length, five for a compact one: −1, 2 GiB, −2, the limit and one above it.
    let lengths: [&[u8]; 7] = [
        &[0xff, 0xff, 0xff, 0xff],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xfe],
        &[0x00, 0x0f, 0x42, 0x40],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x81, 0x89, 0x7a],
    ];
    every_body(|table, version, body, seed| {
        for at in 0..body.len() {
            for length in lengths {
                let mut changed = body.clone();
                changed.splice(at..(at + length.len()).min(body.len()), length.iter().copied());
                survives(table, version, changed.into(), || format!("seed {seed}, {length:02x?} at {at}"));
            }
        }
    });
}

/// The worst a peer can do with honest lengths: a long list of the shortest elements.
#[test]
fn a_long_list_of_short_elements_stays_under_the_multiple() {
    let count = 200_000u32;
    let mut frame = vec![0, 0, 0, 1];
    frame.extend([0, 0, 0, 0]);
    frame.extend(count.to_be_bytes());
    frame.extend(std::iter::repeat_n(0, 9 * count as usize));
    let frame = Bytes::from(frame);
    let length = frame.len();
    let (_, peak) = counted(|| wire::decode_response::<MetadataRequest>(frame, 0));
    assert!(peak <= AT_LEAST + MULTIPLE * length, "{peak} bytes for {length}");
    // More elements than a peer may send are refused although there would be bytes for them.
    let mut frame = vec![0; 8];
    frame.extend(1_000_001u32.to_be_bytes());
    frame.resize(12_000_000, 0);
    let frame = Bytes::from(frame);
    let (allocations, _) = counted(|| {
        let read = wire::decode_response::<MetadataRequest>(frame, 0);
        assert_eq!(read.map_err(|error| error.fault).err(), Some(DecodeFault::TooMany(1_000_001)));
    });
    assert!(allocations <= 4, "{allocations} allocations before the refusal");
}
