//! From what a person pipes in to frames: hex in the forms that tools print, captures, streams, plain bytes.
//!
//! Rules this file keeps:
//! - the form is found by looking at the whole input, never at its first bytes alone;
//! - a length in front of a frame is believed when it says exactly how much follows.

use bytes::Bytes;
use milena::wire::{
    Api, ApiKey,
    tree::{Direction, FrameTree, guess_response},
};

/// A frame without its length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Which way it travels, where the input says so.
    pub(crate) direction: Option<Direction>,
    pub(crate) bytes: Bytes,
    /// The line that it stands in, where it has one of its own.
    pub(crate) line: Option<usize>,
    /// Whether its length said more than there is.
    pub(crate) is_cut: bool,
}

impl Piece {
    fn new(bytes: Bytes) -> Self {
        Self { direction: None, bytes, line: None, is_cut: false }
    }
}

/// The frames of the input, in their order.
pub(crate) fn pieces(input: Vec<u8>, is_capture: bool) -> Result<Vec<Piece>, String> {
    let Some(text) = as_text(&input) else { return Ok(unlabelled(input.into())) };
    if text.lines().any(|line| line.starts_with("Follow: tcp,raw")) {
        return follow(text);
    }
    if is_capture || text.lines().any(|line| line.starts_with(['>', '<'])) {
        return capture(text);
    }
    hex_text(text).map(|bytes| unlabelled(bytes.into()))
}

/// The bytes of the input, whatever they are.
pub(crate) fn bytes(input: Vec<u8>) -> Result<Bytes, String> {
    match as_text(&input) {
        Some(text) => hex_text(text).map(Bytes::from),
        None => Ok(input.into()),
    }
}

/// Whether the key and version in front have a table, and the header reads.
pub(crate) fn begins_like_a_request(bytes: &Bytes) -> bool {
    let tree = FrameTree::request(bytes.clone());
    let known = Api::of_key(tree.api).is_some_and(|api| api.request.versions.contains(&tree.version));
    known && tree.header.fault.is_none()
}

/// Whether the key and version in front have a table, whatever comes behind them. Not for key 0, Produce: a response
/// begins with a number, too, and small ones look like that.
pub(crate) fn names_a_request(bytes: &[u8]) -> bool {
    let Some([k0, k1, v0, v1]) = bytes.first_chunk().copied() else { return false };
    let (key, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
    key != 0 && Api::of_key(ApiKey(key)).is_some_and(|api| api.request.versions.contains(&version))
}

fn as_text(input: &[u8]) -> Option<&str> {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~') || *byte >= 0x80;
    if input.iter().all(is_text) { str::from_utf8(input).ok() } else { None }
}

/// Bytes without a word about them: frames with their lengths that fill them; one frame that reads; frames of which the
/// last is cut off; or one that does not read.
fn unlabelled(bytes: Bytes) -> Vec<Piece> {
    if let Some(pieces) = whole_chain(&bytes) {
        return pieces;
    }
    let is_request = |bytes: &Bytes| FrameTree::request(bytes.clone()).fault.is_none();
    if is_request(&bytes) || !guess_response(&bytes, None, None).is_empty() {
        return vec![Piece::new(bytes)];
    }
    match chain(&bytes).first() {
        Some(first) if is_request(&first.bytes) || !begins_like_a_request(&bytes) => stream(bytes, None),
        _ => vec![lone(bytes)],
    }
}

/// A single frame that does not read: as it is, or without the length in front of it.
fn lone(bytes: Bytes) -> Piece {
    let announced = bytes.first_chunk().map(|length| i64::from(i32::from_be_bytes(*length)));
    let behind = bytes.slice(bytes.len().min(4)..);
    let is_longer = announced.is_some_and(|length| length > behind.len() as i64);
    // Cut off, with the length in front: what is there of a request is recognized by its header.
    if is_longer && !names_a_request(&bytes) && !begins_like_a_request(&bytes) && begins_like_a_request(&behind) {
        return Piece { is_cut: true, ..Piece::new(behind) };
    }
    Piece::new(bytes)
}

/// Frames one behind the other, each with its length in front, that fill the bytes exactly.
fn whole_chain(bytes: &Bytes) -> Option<Vec<Piece>> {
    let pieces = chain(bytes);
    let taken: usize = pieces.iter().map(|piece| 4 + piece.bytes.len()).sum();
    if taken != bytes.len() || pieces.is_empty() {
        return None;
    }
    // A response whose correlation id happens to be the number of the bytes behind it.
    let is_response = pieces.len() == 1
        && FrameTree::request(bytes.slice(4..)).fault.is_some()
        && guess_response(&bytes.slice(4..), None, None).is_empty()
        && !guess_response(bytes, None, None).is_empty();
    if is_response { None } else { Some(pieces) }
}

/// The whole frames that follow each other from the front.
fn chain(bytes: &Bytes) -> Vec<Piece> {
    let (mut pieces, mut rest) = (Vec::new(), bytes.clone());
    while let Some(frame) = split_frame(&mut rest) {
        pieces.push(Piece::new(frame));
    }
    pieces
}

/// Takes a whole frame from the front.
fn split_frame(rest: &mut Bytes) -> Option<Bytes> {
    let length = frame_length(rest)?;
    let frame = rest.slice(4..4 + length);
    *rest = rest.slice(4 + length..);
    Some(frame)
}

/// How long the whole frame in front is, without its length. None has less than a correlation id.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(i32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    (4..=bytes.len() - 4).contains(&length).then_some(length)
}

/// Frames with their lengths, the last perhaps cut off.
fn stream(bytes: Bytes, direction: Option<Direction>) -> Vec<Piece> {
    let mut pieces = chain(&bytes);
    let taken: usize = pieces.iter().map(|piece| 4 + piece.bytes.len()).sum();
    if taken < bytes.len() {
        let rest = bytes.slice((taken + 4).min(bytes.len())..);
        pieces.push(Piece { is_cut: true, ..Piece::new(rest) });
    }
    pieces.into_iter().map(|piece| Piece { direction, ..piece }).collect()
}

/// Lines of `> HEX` and `< HEX`.
fn capture(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let (direction, hex) = match line.split_at_checked(1) {
            None | Some(("#", _)) => continue,
            Some((">", hex)) => (Direction::Request, hex),
            Some(("<", hex)) => (Direction::Response, hex),
            Some(_) => return Err(format!("line {number}: a line of a capture begins with >, < or #")),
        };
        let bytes = digits(hex).map_err(|why| format!("line {number}: {why}"))?.into();
        pieces.push(Piece { direction: Some(direction), bytes, line: Some(number), is_cut: false });
    }
    Ok(pieces)
}

/// What `tshark -q -z follow,tcp,raw,N` prints: hex by segment, what the second node sent after a tab.
///
/// The first node is whoever spoke first, which in Kafka is the client.
fn follow(text: &str) -> Result<Vec<Piece>, String> {
    let (mut sent, mut received, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
    let is_hex = |line: &&str| !line.trim().is_empty() && line.trim().bytes().all(|byte| byte.is_ascii_hexdigit());
    for line in text.lines().filter(is_hex) {
        let (direction, buffer) = match line.starts_with('\t') {
            false => (Direction::Request, &mut sent),
            true => (Direction::Response, &mut received),
        };
        buffer.extend(digits(line)?);
        if frame_length(buffer).is_none() {
            continue;
        }
        let mut rest = Bytes::from(std::mem::take(buffer));
        while let Some(bytes) = split_frame(&mut rest) {
            pieces.push(Piece { direction: Some(direction), ..Piece::new(bytes) });
        }
        buffer.extend_from_slice(&rest);
    }
    for (direction, rest) in [(Direction::Request, sent), (Direction::Response, received)] {
        if !rest.is_empty() {
            pieces.extend(stream(rest.into(), Some(direction)));
        }
    }
    Ok(pieces)
}

/// Hex in the forms that tools print.
fn hex_text(text: &str) -> Result<Vec<u8>, String> {
    let lines = || (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let form = lines().next().map_or(Form::Digits, |(_, line)| Form::of(line));
    let mut bytes = Vec::new();
    if form == Form::Digits {
        // A byte may be split by the end of a line, so the lines are one text.
        let joined: String = lines().map(|(_, line)| line.to_owned() + " ").collect();
        bytes = digits(&joined)?;
    } else {
        for (number, line) in lines() {
            let hex = form.hex_of(line).map_err(|why| format!("line {number}: {why}"))?;
            bytes.extend(digits(hex).map_err(|why| format!("line {number}: {why}"))?);
        }
    }
    if bytes.is_empty() { Err("there is no hex in the input".to_owned()) } else { Ok(bytes) }
}

/// What stands in a line beside the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing.
    Digits,
    /// `00000000: 0000 001f …  ….`, as xxd prints it.
    Xxd,
    /// `00000000  00 00 00 1f …  |….|`, as `hexdump -C` prints it.
    Hexdump,
    /// `0000000 00 00 00 1f …`, as `od -tx1` prints it.
    Od,
    /// `0000000 0000 1f00 …`, as `hexdump` and `od -x` print it: numbers of this machine, not bytes in their order.
    Words,
}

impl Form {
    fn of(line: &str) -> Self {
        let offset = line.trim_start().bytes().take_while(u8::is_ascii_hexdigit).count();
        let behind = line.trim_start().get(offset..).unwrap_or_default();
        if offset >= 8 && behind.starts_with(": ") {
            Self::Xxd
        } else if offset >= 7 && behind.starts_with("  ") && line.contains('|') {
            Self::Hexdump
        } else if (6..=7).contains(&offset) && line.starts_with("000000") {
            match behind.split_whitespace().next().map(str::len) {
                Some(2) => Self::Od,
                Some(4) => Self::Words,
                _ => Self::Digits,
            }
        } else {
            Self::Digits
        }
    }

    fn hex_of(self, line: &str) -> Result<&str, String> {
        let line = line.trim();
        if line == "*" {
            return Err("lines that repeat are left out here: use the option -v".to_owned());
        }
        match self {
            Self::Digits => Ok(line),
            Self::Xxd => {
                let (_, rest) = line.split_once(": ").ok_or("an offset and a colon should be in front")?;
                Ok(rest.split("  ").next().unwrap_or_default())
            }
            Self::Hexdump => {
                let hex = line.split('|').next().unwrap_or_default();
                Ok(hex.split_once(' ').map_or("", |(_, hex)| hex))
            }
            Self::Od => Ok(line.split_once(' ').map_or("", |(_, hex)| hex)),
            Self::Words => Err("these are two-byte numbers: use hexdump -v -C, or od -v -tx1".to_owned()),
        }
    }
}

/// Hex digits with what people put between them.
fn digits(text: &str) -> Result<Vec<u8>, String> {
    let (mut bytes, mut half) = (Vec::with_capacity(text.len() / 2), None);
    let plain = text.replace("0x", " ").replace("0X", " ").replace("\\x", " ");
    for c in plain.chars() {
        match (c.to_digit(16), half.take()) {
            (Some(digit), None) => half = Some(digit as u8),
            (Some(digit), Some(high)) => bytes.push(high << 4 | digit as u8),
            (None, open) if is_between(c) => half = open,
            (None, _) => return Err(format!("{c:?} after {} bytes is no hex digit", bytes.len())),
        }
    }
    match half {
        None => Ok(bytes),
        Some(_) => Err(format!("half a byte is left after {} bytes", bytes.len())),
    }
}

fn is_between(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, ',' | ';' | ':' | '[' | ']' | '{' | '}' | '"' | '\'')
}

#[cfg(test)]
mod tests;
