//! Which partition a key belongs to: the same one as with other clients, hash by hash.
//!
//! Rules this file keeps:
//! - a hash is the other client's, bit for bit, or records of one key end up in two partitions;
//! - Java masks the sign bit of its hash away; librdkafka and Sarama take FNV-1a's absolute value; CRC-32 has no sign.

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

/// FNV-1a of `key`, 32 bits: Sarama's hash, and with [`fnv1a_magnitude`] librdkafka's `fnv1a`.
pub fn fnv1a(key: &[u8]) -> u32 {
    key.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The absolute value of [`fnv1a`] read as a signed number, as librdkafka and Sarama's hash partitioner take it. Sarama's
/// reference partitioner masks the sign bit instead, and spreads the same keys differently.
pub fn fnv1a_magnitude(key: &[u8]) -> u32 {
    fnv1a(key).cast_signed().unsigned_abs()
}

/// CRC-32 (IEEE) of `key`: librdkafka's `consistent`.
pub fn crc32(key: &[u8]) -> u32 {
    super::crc::ieee(key)
}

/// The partition of `key` among `partitions` of them, as Java's default chooses it; 0 if there are none.
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
    fn golden_values_of_the_other_hashes() {
        let long = "this is another string with more length to it perhaps";
        let cases = [
            ("kafka", 0x0d33_c4e1, None),
            ("giberish123456789", 0x77a5_8295, None),
            ("1234", 0x023b_dd03, None),
            ("4", 0x310c_a263, None),
            ("", 0x7ee3_623b, Some(0)),
            ("23456", 0x27e6_f469, Some(0xb1b4_51d7)),
            (long, 0x155e_3e5f, Some(0xb015_0df7)),
            ("hejsan", 0x17b1_e27a, Some(0xd077_037e)),
        ];
        for (key, magnitude, crc) in cases {
            assert_eq!(fnv1a_magnitude(key.as_bytes()), magnitude, "{key}");
            assert!(crc.is_none_or(|crc| crc32(key.as_bytes()) == crc), "{key}");
        }
    }

    #[test]
    fn any_number_of_partitions_is_answered() {
        for partitions in [i32::MIN, -1, 0, 1] {
            assert!(partition_for_key(b"key", partitions) >= 0, "{partitions}");
        }
        assert_eq!(partition_for_key(b"key", 0), 0);
    }
}
