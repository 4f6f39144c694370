//! Lines out of a stream of bytes, whatever the bytes are.
//!
//! Rules this file keeps:
//! - a line ends at `\n`; the last one may lack it; no other byte means anything;
//! - no line takes more memory than the limit: what is beyond is counted and let go.

use std::{
    io::{ErrorKind, Read},
    thread,
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole(Bytes),
    /// Longer than the limit: only its length is known.
    TooLong(usize),
}

/// Cuts chunks into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    limit: usize,
    /// The beginning of a line whose end has not come.
    open: Vec<u8>,
    /// How long that line is so far; more than `open` holds once it is too long.
    length: usize,
}

impl Lines {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, open: Vec::new(), length: 0 }
    }

    /// Hands every line that `chunk` completes to `each`.
    pub(crate) fn split(&mut self, mut chunk: Bytes) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(end) = chunk.iter().position(|&b| b == b'\n') {
            let piece = chunk.split_to(end);
            chunk = chunk.split_off(1);
            lines.push(self.complete(piece));
        }
        self.keep(&chunk);
        lines
    }

    /// The last line, if the input did not end in `\n`.
    pub(crate) fn rest(&mut self) -> Option<Line> {
        (self.length > 0).then(|| self.complete(Bytes::new()))
    }

    fn complete(&mut self, piece: Bytes) -> Line {
        if self.length == 0 && piece.len() <= self.limit {
            return Line::Whole(piece);
        }
        self.keep(&piece);
        let (line, length) = (std::mem::take(&mut self.open), std::mem::take(&mut self.length));
        if length > self.limit { Line::TooLong(length) } else { Line::Whole(line.into()) }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.length += piece.len();
        if self.length > self.limit {
            self.open = Vec::new();
        } else {
            self.open.extend_from_slice(piece);
        }
    }
}

/// Reads stdin on a thread of its own: a blocked read must not hold the runtime, nor its end.
/// Every chunk is handed on as it comes, so that a person's line is sent when it is typed.
pub(crate) fn stdin() -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    let read = move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let chunk = match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default())),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    };
    // Without the thread the channel is closed at once: the input counts as empty, and the error is said.
    if let Err(error) = thread::Builder::new().name("stdin".to_owned()).spawn(read) {
        crate::failure::say(&format!("cannot start a thread to read stdin: {error}"));
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::{Line, Lines};

    fn split(limit: usize, chunks: &[&'static [u8]]) -> Vec<Line> {
        let mut lines = Lines::new(limit);
        let mut found: Vec<Line> = chunks.iter().flat_map(|chunk| lines.split((*chunk).into())).collect();
        found.extend(lines.rest());
        found
    }

    fn whole(text: &'static [u8]) -> Line {
        Line::Whole(text.into())
    }

    #[test]
    fn lines_end_at_newline_only() {
        let table: &[(&[&'static [u8]], Vec<Line>)] = &[
            (&[], vec![]),
            (&[b""], vec![]),
            (&[b"\n"], vec![whole(b"")]),
            (&[b"a\nb"], vec![whole(b"a"), whole(b"b")]),
            (&[b"a\n\nb\n"], vec![whole(b"a"), whole(b""), whole(b"b")]),
            (&[b"a", b"b", b"\nc\n"], vec![whole(b"ab"), whole(b"c")]),
            (&[b"a\r\n\0\xff"], vec![whole(b"a\r"), whole(b"\0\xff")]),
            (&[b"12345\n123456\n1\n"], vec![whole(b"12345"), Line::TooLong(6), whole(b"1")]),
            (&[b"1234", b"5678", b"9\nab\n"], vec![Line::TooLong(9), whole(b"ab")]),
            (&[b"123456"], vec![Line::TooLong(6)]),
        ];
        for (chunks, expected) in table {
            assert_eq!(&split(5, chunks), expected, "{chunks:?}");
        }
    }
}
