//! A topic's id: 128 bits that Kafka prints as URL-safe base64.
//!
//! Rules this file keeps: zero means “none”; what is printed can be parsed again.

use std::{fmt, str::FromStr};

/// A 128-bit id, most often a topic's. Zero, the default, means none.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

impl Uuid {
    /// No id.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 22 digits of six bits; the last one holds two bits and four zeros.
        (0..22).try_for_each(|digit| {
            let bits = if digit < 21 { self.0 >> (122 - 6 * digit) } else { self.0 << 4 };
            let digit = ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'A');
            fmt::Write::write_char(f, char::from(digit))
        })
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 22 digits of URL-safe base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAUuid;

impl fmt::Display for NotAUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is 22 digits of URL-safe base64")
    }
}

impl std::error::Error for NotAUuid {}

impl FromStr for Uuid {
    type Err = NotAUuid;

    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        if text.len() != 22 {
            return Err(NotAUuid);
        }
        let mut id = 0u128;
        for (index, byte) in text.bytes().enumerate() {
            let bits = ALPHABET.iter().position(|digit| *digit == byte).ok_or(NotAUuid)? as u128;
            id = if index < 21 { id << 6 | bits } else { id << 2 | bits >> 4 };
            if index == 21 && bits & 15 != 0 {
                return Err(NotAUuid);
            }
        }
        Ok(Self(id))
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_java_does_and_reads_it_back() {
        let table = [
            (0x5d8c_94f6_2e51_0aba_d6d0_e38d_dad7_9e58, None),
            (0, Some("AAAAAAAAAAAAAAAAAAAAAA")),
            (1, Some("AAAAAAAAAAAAAAAAAAAAAQ")),
            (u128::MAX, Some("_____________________w")),
        ];
        for (id, text) in table {
            let printed = Uuid(id).to_string();
            assert_eq!(printed.parse(), Ok(Uuid(id)));
            assert_eq!(text.unwrap_or(&printed), printed);
        }
        assert_eq!(
            "UXyU9i5ARn6W00ON2taeWA".parse::<Uuid>().map(|id| id.to_string()),
            Ok("UXyU9i5ARn6W00ON2taeWA".into())
        );
        for bad in ["", "short", "UXyU9i5ARn6W00ON2taeW*", "_____________________x"] {
            assert_eq!(bad.parse::<Uuid>(), Err(NotAUuid), "{bad}");
        }
    }
}
