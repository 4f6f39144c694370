//! An input read as a list of choices, so that mutating the bytes mutates what is built from them.

/// Choices from the front of an input; behind its end they are all zero.
#[derive(Debug, Clone)]
pub struct Tape<'a> {
    rest: &'a [u8],
}

impl<'a> Tape<'a> {
    /// Starts at the first byte.
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.bytes(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    /// At most `length` bytes, fewer at the end.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A number below `limit`, or zero.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(u16::from_be_bytes(self.array())) % limit.max(1)
    }

    /// A number of any size: often a small one or one at the edge of a type.
    pub fn number(&mut self) -> i64 {
        match self.byte() {
            choice @ 0..8 => EDGES[usize::from(choice)],
            8 => i64::from_be_bytes(self.array()),
            9 => i64::from(i32::from_be_bytes(self.array())),
            10 => i64::from(i16::from_be_bytes(self.array())),
            small => i64::from(small as i8),
        }
    }

    /// Bytes with a length of one byte in front, or none.
    pub fn field(&mut self) -> Option<&'a [u8]> {
        match self.byte() {
            255 => None,
            // Now and then a long one.
            254 => {
                let length = self.below(40_000);
                Some(self.bytes(length))
            }
            length => Some(self.bytes(usize::from(length))),
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Breaks one thing in `bytes`.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        match self.byte() % 8 {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= self.byte().max(1);
                }
            }
            1 => bytes.truncate(at),
            2 => self.overwrite(bytes, at, &self.clone().number().to_be_bytes()[4..]),
            3 => self.overwrite(bytes, at, &self.clone().number().to_be_bytes()[6..]),
            4 => {
                let inserted = self.bytes(8);
                bytes.splice(at..at, inserted.iter().copied());
            }
            5 => {
                let length = 1 + self.below(32);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            6 => {
                let length = 1 + self.below(256);
                let copied = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, copied);
            }
            // The longest forms of a variable-length integer.
            _ => self.overwrite(bytes, at, &[0xff, 0xff, 0xff, 0xff, self.clone().byte()]),
        }
    }

    fn overwrite(&mut self, bytes: &mut Vec<u8>, at: usize, with: &[u8]) {
        self.bytes(with.len());
        let end = (at + with.len()).min(bytes.len());
        bytes.splice(at..end, with.iter().copied());
    }
}

const EDGES: [i64; 8] =
    [0, -1, i64::MAX, i64::MIN, i32::MAX as i64, i32::MIN as i64, i16::MAX as i64, 1_700_000_000_000];
