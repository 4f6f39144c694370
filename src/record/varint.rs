//! The zigzag variable-length integers inside records.
//!
//! Rules this file keeps:
//! - one- and two-byte forms are read inline and everything longer out of line: at 100 bytes a record, its length,
//!   its offset delta and its value's length all take two bytes;
//! - a form longer than its type allows is refused, so that a hostile record cannot make a reader spin or wrap.

/// The most bytes of a 32-bit varint.
pub(crate) const MAX_VARINT: usize = 5;
/// The most bytes of a 64-bit varint.
pub(crate) const MAX_VARLONG: usize = 10;

/// The bytes that `value` takes. A 32-bit value takes the same in both types.
#[inline]
pub(crate) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// A number in its final bytes, the first one lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Zero beyond `len`.
    pub(crate) bits: u128,
    /// How many bytes there are.
    pub(crate) len: usize,
}

/// The bytes of `value` in a register: bytes that are stored one by one and copied at once make the copy wait.
#[inline(always)]
pub(crate) fn pack(value: i64) -> Packed {
    let rest = zigzag(value);
    if rest < 0x80 {
        return Packed { bits: u128::from(rest), len: 1 };
    }
    if rest < 0x4000 {
        return Packed { bits: u128::from(rest & 0x7f | 0x80 | rest >> 7 << 8), len: 2 };
    }
    if rest < 0x20_0000 {
        let bits = rest & 0x7f | 0x80 | (rest >> 7 & 0x7f | 0x80) << 8 | rest >> 14 << 16;
        return Packed { bits: u128::from(bits), len: 3 };
    }
    pack_long(rest)
}

#[inline(never)]
fn pack_long(mut rest: u64) -> Packed {
    let (mut bits, mut len) = (0, 0u32);
    while rest >= 0x80 {
        bits |= u128::from(rest & 0x7f | 0x80) << (8 * len);
        rest >>= 7;
        len += 1;
    }
    Packed { bits: bits | u128::from(rest) << (8 * len), len: len as usize + 1 }
}

/// Writes `value` at `at` of a buffer on the stack and returns where the next byte goes.
///
/// The caller's buffer holds the longest form; what would not fit is not written.
#[cfg(test)]
pub(crate) fn put(buffer: &mut [u8], mut at: usize, value: i64) -> usize {
    let mut rest = zigzag(value);
    for slot in buffer.iter_mut().skip(at) {
        at += 1;
        if rest < 0x80 {
            *slot = rest as u8;
            break;
        }
        *slot = rest as u8 | 0x80;
        rest >>= 7;
    }
    at
}

/// Takes a 32-bit varint off the front of `input`; `None` if it is cut off or longer than five bytes.
#[inline(always)]
pub(crate) fn take_i32(input: &mut &[u8]) -> Option<i32> {
    match **input {
        [a, ref rest @ ..] if a < 0x80 => {
            *input = rest;
            Some(unzigzag(u64::from(a)) as i32)
        }
        [a, b, ref rest @ ..] if b < 0x80 => {
            *input = rest;
            Some(unzigzag(u64::from(a & 0x7f) | u64::from(b) << 7) as i32)
        }
        _ => {
            let (raw, rest) = long_form(input, MAX_VARINT)?;
            *input = rest;
            Some(unzigzag(raw) as i32)
        }
    }
}

/// Takes a 64-bit varint off the front of `input`; `None` if it is cut off or longer than ten bytes.
#[inline(always)]
pub(crate) fn take_i64(input: &mut &[u8]) -> Option<i64> {
    match **input {
        [a, ref rest @ ..] if a < 0x80 => {
            *input = rest;
            Some(unzigzag(u64::from(a)))
        }
        [a, b, ref rest @ ..] if b < 0x80 => {
            *input = rest;
            Some(unzigzag(u64::from(a & 0x7f) | u64::from(b) << 7))
        }
        _ => {
            let (raw, rest) = long_form(input, MAX_VARLONG)?;
            *input = rest;
            Some(unzigzag(raw))
        }
    }
}

/// By value: a reference that leaves the walk would keep the walk's place in memory instead of registers.
#[cold]
#[inline(never)]
fn long_form(input: &[u8], longest: usize) -> Option<(u64, &[u8])> {
    let bits = if longest == MAX_VARINT { 32 } else { 64 };
    let mut value = 0u64;
    for (index, &byte) in input.iter().enumerate().take(longest) {
        let shift = 7 * index as u32;
        let part = u64::from(byte & 0x7f);
        // The last byte of the longest form holds fewer than seven bits of the value.
        if shift + 7 > bits && part >> (bits - shift) != 0 {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            return Some((value, input.get(index + 1..)?));
        }
    }
    None
}

#[inline(always)]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline(always)]
fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::varint::golden::SIGNED;

    fn written(value: i64) -> Vec<u8> {
        let mut buffer = [0; MAX_VARLONG];
        let end = put(&mut buffer, 0, value);
        buffer[..end].to_vec()
    }

    #[test]
    fn packed_numbers_are_the_written_ones() {
        for bits in 0..64 {
            for value in [1i64 << bits, (1i64 << bits).wrapping_sub(1), (1i64 << bits).wrapping_neg()] {
                let mut written = [0; 16];
                let len = put(&mut written, 0, value);
                let packed = pack(value);
                assert_eq!((packed.len, size(value)), (len, len), "{value}");
                assert_eq!(packed.bits.to_le_bytes(), written, "{value}");
            }
        }
    }

    #[test]
    fn integers_are_as_java_writes_them() {
        for &(value, bytes) in SIGNED {
            assert_eq!(written(i64::from(value)), bytes, "{value}");
            assert_eq!(size(i64::from(value)), bytes.len(), "{value}");
            let mut input = bytes;
            assert_eq!(take_i32(&mut input), Some(value));
            assert!(input.is_empty());
            let mut input = bytes;
            assert_eq!(take_i64(&mut input), Some(i64::from(value)));
        }
    }

    #[test]
    fn longs_round_trip_at_every_width() {
        for shift in 0..64 {
            for value in [1i64 << shift, (1i64 << shift).wrapping_sub(1), (1i64 << shift).wrapping_neg()] {
                let bytes = written(value);
                assert_eq!(bytes.len(), size(value));
                let mut input = bytes.as_slice();
                assert_eq!(take_i64(&mut input), Some(value));
                assert!(input.is_empty());
            }
        }
    }

    #[test]
    fn hostile_forms_are_refused() {
        let cases: &[&[u8]] = &[
            &[],
            &[0x80],
            &[0x80, 0x80, 0x80, 0x80],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            // Five bytes, but more than 32 bits.
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
        ];
        for case in cases {
            let mut input = *case;
            assert_eq!(take_i32(&mut input), None, "{case:02x?}");
        }
        let mut input: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(take_i64(&mut input), None);
        let mut input: &[u8] = &[0xff; 11];
        assert_eq!(take_i64(&mut input), None);
    }
}
