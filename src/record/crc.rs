//! The checksums of records behind one function each, so that the crates below can be changed in one place.

/// The CRC-32C of what was summed in `crc` (0 at the start) followed by `bytes`.
#[inline]
pub(crate) fn extend(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// The CRC-32C of two parts whose sums are known, and of whose second one the length is (below 4 GiB).
///
/// A sum is a polynomial's remainder: the first part's is multiplied by `x` to the second part's length in bits. The
/// crate's own function makes that power from nothing each time; here the powers of two are there, and it costs some
/// tenths of a microsecond.
pub(crate) fn combine(first: u32, second: u32, len: usize) -> u32 {
    let set = POWERS.iter().enumerate().filter(|(bit, _)| len >> bit & 1 == 1);
    set.fold(first, |product, (_, power)| multiply(product, *power)) ^ second
}

/// The product of two remainders; as everywhere in this sum, the highest power is the lowest bit.
const fn multiply(left: u32, right: u32) -> u32 {
    let (mut left, mut right, mut product) = (left, right, 0);
    while left != 0 {
        // Without a branch: the bits are as good as random.
        product ^= right & (left >> 31).wrapping_neg();
        right = right >> 1 ^ POLYNOMIAL & (right & 1).wrapping_neg();
        left <<= 1;
    }
    product
}

/// `x` to eight times each power of two.
const POWERS: [u32; 32] = {
    let (mut powers, mut power, mut index) = ([0; 32], ONE >> 1, 0);
    while index < 3 + powers.len() {
        if index >= 3 {
            powers[index - 3] = power;
        }
        power = multiply(power, power);
        index += 1;
    }
    powers
};
const ONE: u32 = 1 << 31;
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The CRC-32 (IEEE) of `bytes`, which formats 0 and 1 have; gzip's own, so its library does it.
pub(super) fn ieee(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_combine_to_the_sum_of_the_whole() {
        let bytes: Vec<u8> =
            (0..(1u32 << 21) + 77).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in [0, 1, 7, 8, 63, 64, 65, 1000, 32_768, 1_000_003, 1 << 20, (1 << 21) + 40] {
            let (first, second) = bytes.split_at(bytes.len() - len);
            let combined = combine(extend(0, first), extend(0, second), len);
            assert_eq!(combined, extend(0, &bytes), "{len} bytes behind");
        }
        assert_eq!(combine(0, 0x1234_5678, 99), 0x1234_5678, "nothing in front");
    }

    #[test]
    fn golden_values() {
        let ascending: Vec<u8> = (0..32).collect();
        let cases: &[(&[u8], u32)] = &[
            (b"", 0),
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"Some String", 608_512_271),
        ];
        for &(bytes, crc) in cases {
            assert_eq!(extend(0, bytes), crc);
            let (head, tail) = bytes.split_at(bytes.len() / 3);
            assert_eq!(extend(extend(0, head), tail), crc, "in two pieces");
        }
    }

    #[test]
    fn golden_values_of_librdkafka() {
        let cases: &[(&[u8], u32)] = &[
            (b"", 0),
            (b"123456789", 0xcbf4_3926),
            (b"23456", 0xb1b4_51d7),
            (b"this is another string with more length to it perhaps", 0xb015_0df7),
            (b"hejsan", 0xd077_037e),
        ];
        for &(bytes, crc) in cases {
            assert_eq!(ieee(bytes), crc);
        }
    }
}
