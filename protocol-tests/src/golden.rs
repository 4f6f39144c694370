//! Captured frames as text: what `golden/` holds, what the recorder writes and what `milena decode` reads.
//!
//! ```text
//! # java: Metadata v13
//! > 0003000d00000001…
//! < 00000001…
//! ```
//!
//! Rules this file keeps:
//! - `>` is a request and `<` the response to the request above it, both without the length in front;
//! - an empty line ends an exchange, a request without `<` was never answered;
//! - a line that is none of these is an error that names the line.

use std::{
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
};

/// A request and its answer, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What the comments above it say, without `# `.
    pub note: String,
    /// The request's header and body.
    pub request: Vec<u8>,
    /// The response's header and body; `None` where the broker gave no answer.
    pub response: Option<Vec<u8>>,
}

impl Exchange {
    /// The API key in the request's header.
    pub fn api(&self) -> i16 {
        self.int16(0)
    }

    /// The version in the request's header.
    pub fn version(&self) -> i16 {
        self.int16(2)
    }

    /// Header and body of both, in bytes.
    pub fn len(&self) -> usize {
        self.request.len() + self.response.as_ref().map_or(0, Vec::len)
    }

    /// Never true of what [`parse`] gives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn int16(&self, at: usize) -> i16 {
        match self.request.get(at..at + 2) {
            Some(&[high, low]) => i16::from_be_bytes([high, low]),
            _ => -1,
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.lines().try_for_each(|line| writeln!(f, "# {line}"))?;
        writeln!(f, "> {}", hex(&self.request))?;
        self.response.iter().try_for_each(|response| writeln!(f, "< {}", hex(response)))
    }
}

/// Reads the exchanges of a text. A comment that an empty line separates from what follows belongs to the text.
///
/// # Errors
/// A line is none of the four kinds, or a response has no request.
pub fn parse(text: &str) -> Result<Vec<Exchange>, String> {
    let mut found: Vec<Exchange> = Vec::new();
    let (mut note, mut open) = (String::new(), false);
    for (number, line) in text.lines().enumerate() {
        let bytes = |digits: &str| unhex(digits).ok_or_else(|| format!("line {}: not hexadecimal", number + 1));
        match (line.split_at_checked(2).unwrap_or((line, "")), found.last_mut()) {
            (("# " | "#", comment), _) => note.extend([comment, "\n"]),
            (("", _), _) => {
                note.clear();
                open = false;
            }
            (("> ", digits), _) => {
                let note = std::mem::take(&mut note).trim_end().to_string();
                found.push(Exchange { note, request: bytes(digits)?, response: None });
                open = true;
            }
            (("< ", digits), Some(last)) if open && last.response.is_none() => last.response = Some(bytes(digits)?),
            (("< ", _), _) => return Err(format!("line {}: an answer without a request", number + 1)),
            _ => return Err(format!("line {}: neither `> `, `< `, `# ` nor empty", number + 1)),
        }
    }
    Ok(found)
}

/// The exchanges as text, with what is said of all of them in front.
pub fn print(head: &str, exchanges: &[Exchange]) -> String {
    let mut text: String = head.lines().map(|line| format!("# {line}\n")).collect();
    for exchange in exchanges {
        let _ = write!(text, "\n{exchange}");
    }
    text
}

/// A checked-in golden: which file it is from, and the exchange.
#[derive(Debug, Clone)]
pub struct Golden {
    /// The folder, which is Kafka's version, and the file's name.
    pub place: String,
    /// The bytes.
    pub exchange: Exchange,
}

/// All goldens that are checked in, in the order of their files.
///
/// # Panics
/// A file cannot be read or parsed.
pub fn checked_in() -> Vec<Golden> {
    let mut found = Vec::new();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The other folders hold other things.
    let is_version = |folder: &PathBuf| name(folder).starts_with(|first: char| first.is_ascii_digit());
    for folder in files(&folder()).into_iter().filter(is_version) {
        for file in files(&folder).into_iter().filter(|file| file.extension().is_some_and(|end| end == "txt")) {
            let place = format!("{}/{}", name(&folder), name(&file));
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{place}: {error}"));
            let exchanges = parse(&text).unwrap_or_else(|error| panic!("{place}: {error}"));
            found.extend(exchanges.into_iter().map(|exchange| Golden { place: place.clone(), exchange }));
        }
    }
    found
}

/// Where the goldens are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Two lower-case digits to a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of hexadecimal digits; `None` where something else is among them.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.trim().as_bytes();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    digits.len().is_multiple_of(2).then_some(())?;
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        let answered = Exchange { note: "one\ntwo".into(), request: vec![0, 18, 0, 3], response: Some(vec![1, 255]) };
        let silent = Exchange { note: String::new(), request: vec![0, 0, 0, 13], response: None };
        let text = print("of all", &[answered.clone(), silent.clone()]);
        assert_eq!(text, "# of all\n\n# one\n# two\n> 00120003\n< 01ff\n\n> 0000000d\n");
        assert_eq!(parse(&text), Ok(vec![answered.clone(), silent]));
        assert_eq!((answered.api(), answered.version()), (18, 3));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [("> 00\n\n< 00", 3), ("< 00", 1), ("> 0", 1), ("# a\n>00", 2), ("> 00\n< 00\n< 00", 3)] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(&format!("line {line}:")), "{text:?}: {error}");
        }
    }
}
