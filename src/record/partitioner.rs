//! Which partition a key belongs to: the same one as with Java's default partitioner.
//!
//! Rules this file keeps:
//! - the hash is Java's murmur2 over the serialized key, bit for bit, or records of one key end up in two partitions;
//! - the sign bit is masked away, never negated.

/// Java's murmur2 of `key` (`org.apache.kafka.common.utils.Utils.murmur2`), as its bit pattern.
pub fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for &word in words {
        let mut mixed = u32::from_le_bytes(word).wrapping_mul(M);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// The partition of `key` among `partitions` of them; 0 if there are none.
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) as i32).checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values_of_java() {
        let cases = [
            ("21", -973_932_308, 0),
            ("foobar", -790_332_482, 6),
            ("a-little-bit-long-string", -985_981_536, 8),
            ("a-little-bit-longer-string", -1_486_304_829, 11),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971, 5),
            ("abc", 479_470_107, 3),
        ];
        for (key, hash, partition) in cases {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
            assert_eq!(partition_for_key(key.as_bytes(), 12), partition, "{key}");
        }
    }

    #[test]
    fn golden_values_of_librdkafka() {
        let long = "PreAmbleWillBeRemoved,ThePrePartThatIs";
        let cases = [
            ("kafka", 0xd067_cf64),
            ("giberish123456789", 0x8f55_2b0c),
            ("1234", 0x9fc9_7b14),
            ("234", 0xe7c0_09ca),
            ("34", 0x8739_30da),
            ("4", 0x5a4b_5ca1),
            (long, 0x7842_4f1c),
            (&long[1..], 0x4a62_b377),
            (&long[2..], 0xe0e4_e09e),
            (&long[3..], 0x62b8_b43f),
            ("", 0x106e_08d9),
            ("23456", 0x858d_780f),
            ("this is another string with more length to it perhaps", 0xcf77_03da),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
        assert_eq!(murmur2(b"hejsan") & 0x7fff_ffff, 0x5ec1_9395);
    }

    #[test]
    fn any_number_of_partitions_is_answered() {
        for partitions in [i32::MIN, -1, 0, 1] {
            assert!(partition_for_key(b"key", partitions) >= 0, "{partitions}");
        }
        assert_eq!(partition_for_key(b"key", 0), 0);
    }
}
