//! The checksums of records behind one function each, so that the crates below can be changed in one place.

/// The CRC-32C of what was summed in `crc` (0 at the start) followed by `bytes`.
#[inline]
pub(crate) fn extend(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

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
