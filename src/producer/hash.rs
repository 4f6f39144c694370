//! A hash for topic names: `enqueue` looks its topic up for every record, and the standard hasher would cost more than
//! the append itself. The names are the program's own, so nobody can choose colliding ones.

use std::hash::Hasher;

/// Eight bytes a step; good enough for a few names.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(byte)).wrapping_mul(MULTIPLIER);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// 2⁶⁴ divided by the golden ratio: spreads the bits well.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
