//! Every message at every version, cut at every byte and with every byte changed: an error or a value, never a panic,
//! and never more memory than a stated multiple of the frame.

mod counting;
mod hostile;

use bytes::Bytes;
use counting::{counted, counted_with_copies};
use hostile::{AT_LEAST, MULTIPLE};
use milena::wire::{self, DecodeFault, messages::*};
use protocol_tests::{
    catalog::{Table, catalog},
    random, shortest,
};

/// Bodies of each message in each version.
const BODIES: u64 = 2;

fn survives(table: &Table, version: i16, body: Bytes, what: impl Fn() -> String) {
    hostile::survives(
        body.len(),
        || (table.ours)(body.clone(), version),
        || format!("{} version {version}, {}", table.name, what()),
    );
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

/// The worst a peer can do with honest lengths: a long list of the shortest elements, just after it had to grow.
#[test]
fn every_long_list_of_short_elements_stays_under_the_multiple() {
    const COUNT: usize = 2_001;
    let mut worst = (0.0, String::new());
    for table in catalog() {
        for version in table.versions.clone() {
            for body in shortest::bodies(&table, version, COUNT) {
                let body = Bytes::from(body);
                let mut read = None;
                let peak = counted_with_copies(|| read = Some((table.ours)(body.clone(), version)));
                assert!(read == Some(Ok(body.clone())), "{} version {version} is not read", table.name);
                let multiple = peak as f64 / body.len() as f64;
                if multiple > worst.0 {
                    worst = (multiple, format!("{} version {version}", table.name));
                }
                assert!(peak <= AT_LEAST + MULTIPLE * body.len(), "{peak} bytes for {}: {worst:?}", body.len());
            }
        }
    }
    eprintln!("the most memory to a byte of a frame: {worst:?}");
    assert!(worst.0 >= MULTIPLE as f64 / 2.0, "the limit is looser than it needs to be: {worst:?}");
}

#[test]
fn more_elements_than_kafka_sends_are_refused_before_memory_is_reserved() {
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
