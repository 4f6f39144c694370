//! CRC-32C behind one function, so that the crate below it can be changed in one place.

/// The CRC-32C of what was summed in `crc` (0 at the start) followed by `bytes`.
#[inline]
pub(crate) fn extend(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
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
}
