//! What is sent: a pool of values and keys, the same in every run and in every program of `benches/peers`.
//!
//! Rules this file keeps:
//! - the generator is spelled out here rather than borrowed, because programs in other languages repeat it;
//! - values lie one behind the other in one piece of memory, so that reading them costs what reading memory costs.

use super::Kind;

/// The values and keys that records take turns in.
#[derive(Debug)]
pub(super) struct Payloads {
    values: Vec<u8>,
    keys: Vec<u8>,
    size: usize,
    key_size: usize,
    /// One less than the number of values, a power of two: a division would cost as much as half an append.
    mask: usize,
}

impl Payloads {
    pub(super) fn new(kind: Kind, size: usize, key_size: usize) -> Self {
        let (values, count) = match kind {
            Kind::RandomText => (texts(size, texts_of(size)), texts_of(size)),
            Kind::Constant => (vec![b'x'; size], 1),
        };
        Self { values, keys: keys(key_size), size, key_size, mask: count - 1 }
    }

    /// The value of a record.
    pub(super) fn value(&self, number: u64) -> &[u8] {
        let at = (number as usize & self.mask) * self.size;
        &self.values[at..at + self.size]
    }

    /// The key of a record, if it has one.
    pub(super) fn key(&self, number: u64) -> Option<&[u8]> {
        let at = (number as usize % POOL) * self.key_size;
        (self.key_size > 0).then(|| &self.keys[at..at + self.key_size])
    }
}

/// How many different texts of a size there are: a power of two.
fn texts_of(size: usize) -> usize {
    let fit = (MOST_BYTES / size.max(1)).clamp(FEWEST, POOL);
    1 << fit.ilog2()
}

/// Words with a blank behind each, cut off at the size.
fn texts(size: usize, count: usize) -> Vec<u8> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut random = SplitMix(SEED);
    let mut all = Vec::with_capacity(size * count);
    for text in 1..=count {
        while all.len() < size * text {
            all.extend_from_slice(words[(random.next() % words.len() as u64) as usize].as_bytes());
            all.push(b' ');
        }
        all.truncate(size * text);
    }
    all
}

/// The numbers from 0 in decimal, with zeros in front; of a short key the last digits.
fn keys(size: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(size * POOL);
    for number in 0..if size == 0 { 0 } else { POOL } {
        let key = format!("{number:0size$}");
        all.extend_from_slice(&key.as_bytes()[key.len() - size..]);
    }
    all
}

/// SplitMix64: five lines in any language.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// 1,024 words of this project's own documents.
const WORDS: &str = include_str!("words.txt");

const SEED: u64 = 42;

/// How many different keys there are, and values unless they are large.
pub(super) const POOL: usize = 65_536;

/// What all values take together, unless a few take more.
const MOST_BYTES: usize = 256 << 20;

/// So many values differ, however large they are.
const FEWEST: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Kind, POOL, Payloads, SplitMix, WORDS, texts_of};

    /// The programs in other languages are held against the same values: `benches/peers/README.md`.
    #[test]
    fn the_generator_is_the_one_that_other_programs_repeat() {
        let mut random = SplitMix(0);
        assert_eq!([random.next(), random.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
        assert_eq!(WORDS.split_whitespace().collect::<HashSet<_>>().len(), 1024);
    }

    #[test]
    fn values_are_texts_that_differ_and_come_again() {
        let pool = Payloads::new(Kind::RandomText, 100, 0);
        let values: HashSet<&[u8]> = (0..POOL as u64).map(|number| pool.value(number)).collect();
        assert_eq!(values.len(), POOL);
        assert!(values.iter().all(|value| value.len() == 100));
        assert!(pool.value(7).iter().all(|byte| byte.is_ascii_lowercase() || *byte == b' '));
        assert_eq!(pool.value(7), pool.value(7 + 3 * POOL as u64));
        assert_eq!(pool.key(7), None);
    }

    #[test]
    fn large_values_are_fewer() {
        let table = [
            (0, POOL),
            (100, POOL),
            (4096, POOL),
            (4097, POOL / 2),
            (10 << 10, POOL / 4),
            (1 << 20, 256),
            (4 << 20, 64),
            (1 << 30, 64),
        ];
        for (size, count) in table {
            assert_eq!(texts_of(size), count, "{size}");
        }
    }

    #[test]
    fn keys_have_the_length_that_was_asked_for() {
        for (size, key) in [(8, "00001234"), (4, "1234"), (2, "34"), (12, "000000001234")] {
            let pool = Payloads::new(Kind::Constant, 3, size);
            assert_eq!(pool.key(1234), Some(key.as_bytes()));
            assert_eq!(pool.value(9), b"xxx");
        }
        assert_eq!(Payloads::new(Kind::RandomText, 0, 0).value(5), b"");
    }
}
