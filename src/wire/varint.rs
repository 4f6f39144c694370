//! Variable-length integers: seven bits to a byte, the lowest first, the top bit says that more follow.
//!
//! Rules this file keeps:
//! - a 32-bit integer takes at most five bytes and a 64-bit one at most ten; bits beyond the type are refused;
//! - signed integers are zigzag, so that small negative numbers are short;
//! - lengths are computed without a loop, since the append path asks for them per record.

/// How many bytes [`put_u32`] writes.
pub const fn len_u32(value: u32) -> usize {
    len_u64(value as u64)
}

/// How many bytes [`put_u64`] writes.
pub const fn len_u64(value: u64) -> usize {
    // Seven bits to a byte, and zero takes one byte too.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// How many bytes a zigzag 32-bit integer takes.
pub const fn len_i32(value: i32) -> usize {
    len_u32(zigzag32(value))
}

/// How many bytes a zigzag 64-bit integer takes.
pub const fn len_i64(value: i64) -> usize {
    len_u64(zigzag64(value))
}

/// Signed to unsigned: 0, −1, 1, −2 become 0, 1, 2, 3.
pub const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

/// Signed to unsigned: 0, −1, 1, −2 become 0, 1, 2, 3.
pub const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Unsigned back to signed.
pub const fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

/// Unsigned back to signed.
pub const fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Writes an unsigned 32-bit integer.
pub fn put_u32(value: u32, mut byte: impl FnMut(u8)) {
    put_u64(u64::from(value), &mut byte);
}

/// Writes an unsigned 64-bit integer.
pub fn put_u64(mut value: u64, mut byte: impl FnMut(u8)) {
    while value >= 0x80 {
        byte(value as u8 | 0x80);
        value >>= 7;
    }
    byte(value as u8);
}

/// Reads an unsigned 32-bit integer from the front: its value and how many bytes it took.
/// `None` where it is cut off or too large.
pub fn read_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    let (value, taken) = read(bytes, 5)?;
    Some((u32::try_from(value).ok()?, taken))
}

/// Reads an unsigned 64-bit integer from the front: its value and how many bytes it took.
/// `None` where it is cut off or too large.
pub fn read_u64(bytes: &[u8]) -> Option<(u64, usize)> {
    read(bytes, 10)
}

fn read(bytes: &[u8], limit: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(limit).enumerate() {
        // The tenth byte of a 64-bit integer has room for one bit.
        if index == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod golden {
    /// Signed integers as Java's `ByteUtilsTest` has them; those of records are written in the same way.
    pub(crate) const SIGNED: &[(i32, &[u8])] = &[
        (0, &[0x00]),
        (-1, &[0x01]),
        (1, &[0x02]),
        (63, &[0x7e]),
        (-64, &[0x7f]),
        (64, &[0x80, 0x01]),
        (-65, &[0x81, 0x01]),
        (8191, &[0xfe, 0x7f]),
        (-8192, &[0xff, 0x7f]),
        (8192, &[0x80, 0x80, 0x01]),
        (-8193, &[0x81, 0x80, 0x01]),
        (1_048_575, &[0xfe, 0xff, 0x7f]),
        (1_048_576, &[0x80, 0x80, 0x80, 0x01]),
        (134_217_727, &[0xfe, 0xff, 0xff, 0x7f]),
        (134_217_728, &[0x80, 0x80, 0x80, 0x80, 0x01]),
        (-134_217_729, &[0x81, 0x80, 0x80, 0x80, 0x01]),
        (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsigned(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(value, |byte| out.push(byte));
        assert_eq!(out.len(), len_u64(value), "the length of {value}");
        out
    }

    #[test]
    fn unsigned_integers_are_as_java_writes_them() {
        let table: [(u32, &[u8]); 10] = [
            (0, &[0x00]),
            (1, &[0x01]),
            (63, &[0x3f]),
            (64, &[0x40]),
            (8191, &[0xff, 0x3f]),
            (8192, &[0x80, 0x40]),
            (1_048_575, &[0xff, 0xff, 0x3f]),
            (1_048_576, &[0x80, 0x80, 0x40]),
            (i32::MAX as u32, &[0xff, 0xff, 0xff, 0xff, 0x07]),
            (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ];
        for (value, bytes) in table {
            assert_eq!(unsigned(u64::from(value)), bytes, "{value}");
            assert_eq!(read_u32(bytes), Some((value, bytes.len())), "{value}");
            assert_eq!(len_u32(value), bytes.len(), "{value}");
        }
    }

    #[test]
    fn signed_integers_are_as_java_writes_them() {
        for &(value, bytes) in golden::SIGNED {
            assert_eq!(unsigned(u64::from(zigzag32(value))), bytes, "{value}");
            assert_eq!(unsigned(zigzag64(i64::from(value))), bytes, "{value} as 64 bits");
            assert_eq!(len_i32(value), bytes.len(), "{value}");
            assert_eq!(len_i64(i64::from(value)), bytes.len(), "{value}");
            assert_eq!(read_u32(bytes).map(|(raw, _)| unzigzag32(raw)), Some(value));
            assert_eq!(read_u64(bytes).map(|(raw, _)| unzigzag64(raw)), Some(i64::from(value)));
        }
        for value in [i64::MIN, i64::MAX] {
            assert_eq!(read_u64(&unsigned(zigzag64(value))).map(|(raw, _)| unzigzag64(raw)), Some(value));
        }
    }

    #[test]
    fn n13_varints_beyond_their_type_or_cut_off_are_refused() {
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), None, "six bytes");
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None, "33 bits");
        assert_eq!(read_u32(&[0x80]), None, "cut off");
        assert_eq!(read_u32(&[]), None, "nothing");
        assert_eq!(read_u64(&[0xff; 11]), None, "eleven bytes");
        assert_eq!(read_u64(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None, "65 bits");
    }
}
