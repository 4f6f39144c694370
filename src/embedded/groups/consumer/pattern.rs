//! A subscription by regular expression: the pattern, and the topics that it matches.
//!
//! Kafka matches with RE2/J and the whole name must match. The crate here reads the same syntax for what topic names
//! consist of; it knows no Unicode classes (`\pL`) and no `\Q…\E`, which are refused.
//!
//! Rules this file keeps:
//! - a pattern is bounded in its length, its nesting and its compiled size, and matching takes linear time.

use std::collections::BTreeSet;

use regex_lite::{Regex, RegexBuilder};

/// A compiled pattern, and what it matched last.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    pub(super) topics: BTreeSet<String>,
}

impl Pattern {
    /// Compiles a pattern that is to match whole names.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        if source.len() > MAX_LENGTH {
            return Err(format!("a pattern has at most {MAX_LENGTH} bytes, this one has {}", source.len()));
        }
        // By itself first: something like `a)|(b` is valid only between parentheses.
        compile(source)?;
        Ok(Self { regex: compile(&format!(r"\A(?:{source})\z"))?, topics: BTreeSet::new() })
    }

    /// Matches again.
    pub(super) fn resolve(&mut self, names: &BTreeSet<String>) {
        self.topics = names.iter().filter(|name| self.regex.is_match(name)).cloned().collect();
    }
}

fn compile(source: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(source).size_limit(MAX_COMPILED_BYTES).nest_limit(MAX_NESTING).build();
    compiled.map_err(|error| error.to_string())
}

const MAX_LENGTH: usize = 4096;
pub(super) const MAX_COMPILED_BYTES: usize = 64 << 10;
const MAX_NESTING: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        let names: BTreeSet<String> = ["orders", "orders.eu", "reorders", "ORDERS", "a"].map(str::to_owned).into();
        let table: &[(&str, &[&str])] = &[
            ("orders", &["orders"]),
            ("orders.*", &["orders", "orders.eu"]),
            ("orders|a", &["a", "orders"]),
            ("^orders$", &["orders"]),
            ("(?i)orders", &["ORDERS", "orders"]),
            ("[[:upper:]]+", &["ORDERS"]),
            (r".*\.\w{2}", &["orders.eu"]),
            ("", &[]),
            ("(?x) orders # a comment", &[]),
        ];
        for (source, expected) in table {
            let Ok(mut pattern) = Pattern::new(source) else {
                assert!(expected.is_empty(), "{source}");
                continue;
            };
            pattern.resolve(&names);
            assert_eq!(pattern.topics.iter().map(String::as_str).collect::<Vec<_>>(), *expected, "{source}");
        }
    }

    #[test]
    fn what_is_refused() {
        let nested = "(".repeat(60) + &")".repeat(60);
        let long = "a".repeat(5000);
        for source in ["(", "a)|(b", "[", "*", "(?=a)", r"\1", "(a{1000}){1000}", &nested, &long] {
            assert!(Pattern::new(source).is_err(), "{source}");
        }
    }
}
