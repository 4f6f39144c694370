//! How much a stranger's schema and bytes may cost.

use std::sync::Once;

use crate::error::{Error, ErrorKind, Result};

/// Sets the limits of the crate `apache-avro`. They hold for the process; who sets them first, wins.
pub(super) fn apply() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
        apache_avro::util::max_decode_recursion_depth(MAX_DEPTH);
    });
}

/// Checks that texts of schemas are not nested deeper, all together, than the parser's stack can bear. The parser
/// follows a reference to another text, so that depths add up.
pub(super) fn check_nesting<'a>(texts: impl Iterator<Item = &'a str>) -> Result<()> {
    let depth: usize = texts.map(nesting).sum();
    if depth <= MAX_NESTING {
        return Ok(());
    }
    let message = format!("the Avro schema is nested {depth} levels deep, the limit is {MAX_NESTING}");
    Err(Error::new(ErrorKind::Serialization, message))
}

/// How many brackets are open at once at most. Brackets in strings do not count.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// For one string, or for the values of one array: a million dynamic values take 56 MB. The entries of one map are held to
/// it too, but the table behind them is larger: up to 170 MB.
const MAX_ALLOCATION: usize = 128 * 1024 * 1024;
/// Of values. Each union and each array counts as a level of its own.
pub(super) const MAX_DEPTH: usize = 64;
/// Of the schema's JSON. A record within a record takes three levels.
const MAX_NESTING: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_counts_open_brackets_outside_strings() {
        for (json, depth) in [
            ("", 0),
            (r#""string""#, 0),
            ("[{}, {}]", 2),
            (r#"{"doc": "[[[{{{\"[[[", "type": ["null"]}"#, 2),
            ("]]]]", 0),
            ("[[[[", 4),
        ] {
            assert_eq!(nesting(json), depth, "{json}");
        }
    }
}
