//! Record formats 0 and 1: messages and wrappers as Kafka 0.10 wrote them, and with one thing broken.

use bytes::Bytes;
use flate2::Crc;
use milena::record::{BatchBuilder, ChunkPool, Compression};

use super::{
    Tape,
    records::{Said, walk},
};

/// Target `old_formats`: messages that went in come out, plain or in a wrapper; then one thing is broken, inside of the
/// wrapper or outside.
pub(super) fn old_formats(input: &[u8]) {
    let mut tape = Tape::new(input);
    let magic = tape.byte() & 1;
    let codec = Compression::from_id(i16::from(tape.byte() % 4)).expect("one of the old codecs");
    let place = tape.byte() % 3;
    let (mut messages, said) = messages(&mut tape, magic);
    if said.is_empty() {
        return;
    }
    let last = said.last().map_or(0, |said| said.offset);
    let good = if codec == Compression::None { messages.clone() } else { wrapper(magic, codec, last, &messages) };
    let read = walk(Bytes::copy_from_slice(&good), true);
    assert!(read.iter().all(Option::is_some), "a region that was right");
    let read: Vec<Said> = read.into_iter().flatten().flatten().collect();
    assert_eq!(read, said);
    match place {
        0 => {}
        1 => {
            tape.damage(&mut messages);
            let _ = walk(wrapper(magic, codec, last, &messages).into(), false);
        }
        _ => {
            let mut broken = good;
            tape.damage(&mut broken);
            let _ = walk(broken.into(), false);
        }
    }
}

/// Messages from the tape, and what they say. Offsets ascend, with gaps.
fn messages(tape: &mut Tape<'_>, magic: u8) -> (Vec<u8>, Vec<Said>) {
    let (mut bytes, mut said, mut offset) = (Vec::new(), Vec::new(), i64::from(tape.byte()));
    for _ in 0..tape.byte() % 32 {
        let timestamp = if magic == 0 { -1 } else { tape.number() };
        let (key, value) = (tape.field(), tape.field());
        bytes.extend(message(magic, Compression::None, offset, timestamp, key, value));
        said.push(Said {
            offset,
            timestamp,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        });
        offset += 1 + i64::from(tape.byte() % 4);
    }
    (bytes, said)
}

fn wrapper(magic: u8, codec: Compression, last_offset: i64, messages: &[u8]) -> Vec<u8> {
    message(magic, codec, last_offset, -1, None, Some(&compressed(codec, messages)))
}

fn message(
    magic: u8,
    codec: Compression,
    offset: i64,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Vec<u8> {
    let mut covered = vec![magic, codec.id() as u8];
    if magic > 0 {
        covered.extend(timestamp.to_be_bytes());
    }
    for field in [key, value] {
        covered.extend(field.map_or(-1, |field| field.len() as i32).to_be_bytes());
        covered.extend(field.unwrap_or_default());
    }
    let mut crc = Crc::new();
    crc.update(&covered);
    let length = 4 + covered.len() as i32;
    [&offset.to_be_bytes()[..], &length.to_be_bytes(), &crc.sum().to_be_bytes(), &covered].concat()
}

/// What milena compresses for format 2 is right for the old ones, too; what does not shrink is stored by hand.
fn compressed(codec: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut sealed = BatchBuilder::new(&ChunkPool::new(0)).seal();
    sealed.set_body(vec![Bytes::copy_from_slice(bytes)]);
    let sealed = sealed.compress(codec, None);
    let body = sealed.body().concat();
    if sealed.attributes != 0 { body } else { stored(codec, &body) }
}

/// The bytes in the codec's form that stores them.
fn stored(codec: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match codec {
        Compression::Gzip => {
            out.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
            let mut blocks = bytes.chunks(0xffff).peekable();
            if blocks.peek().is_none() {
                out.extend([1, 0, 0, 0xff, 0xff]);
            }
            while let Some(block) = blocks.next() {
                out.push(u8::from(blocks.peek().is_none()));
                out.extend((block.len() as u16).to_le_bytes());
                out.extend((!(block.len() as u16)).to_le_bytes());
                out.extend(block);
            }
            let mut crc = Crc::new();
            crc.update(bytes);
            out.extend(crc.sum().to_le_bytes());
            out.extend((bytes.len() as u32).to_le_bytes());
        }
        Compression::Snappy => {
            // Bare, as a length and literals of at most 60 bytes.
            let mut length = bytes.len();
            while length > 0x7f {
                out.push(length as u8 | 0x80);
                length >>= 7;
            }
            out.push(length as u8);
            for literal in bytes.chunks(60) {
                out.push((literal.len() as u8 - 1) << 2);
                out.extend(literal);
            }
        }
        _ => {
            out.extend([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
            for block in bytes.chunks(65_536) {
                out.extend((block.len() as u32 | 1 << 31).to_le_bytes());
                out.extend(block);
            }
            out.extend([0; 4]);
        }
    }
    out
}
