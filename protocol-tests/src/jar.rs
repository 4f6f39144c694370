//! Reads the entries of a jar: as much of the zip format as Maven's jars use.
//!
//! Rules this file keeps: entries are found through the directory at the end, whose sizes are the true ones; anything
//! unexpected is an error that says what.

use std::{fs, io::Read, path::Path};

use flate2::read::DeflateDecoder;

/// The entries whose name starts with `prefix`: name and content.
///
/// # Errors
/// The file cannot be read or is not a zip file of the plain kind.
pub fn entries(path: &Path, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let jar = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let end = find_end(&jar).ok_or_else(|| format!("{} is not a zip file", path.display()))?;
    let (count, mut at) = (u16_at(&jar, end + 10)?, u32_at(&jar, end + 16)? as usize);
    let mut found = Vec::new();
    for _ in 0..count {
        let (name_length, extra, comment) = (u16_at(&jar, at + 28)?, u16_at(&jar, at + 30)?, u16_at(&jar, at + 32)?);
        let name = String::from_utf8_lossy(slice(&jar, at + 46, name_length)?).into_owned();
        if name.starts_with(prefix) && !name.ends_with('/') {
            let content = content(&jar, at).map_err(|error| format!("{name}: {error}"))?;
            found.push((name, content));
        }
        at += 46 + name_length + extra + comment;
    }
    Ok(found)
}

/// The content of the entry whose line in the directory starts at `line`.
fn content(jar: &[u8], line: usize) -> Result<Vec<u8>, String> {
    let (method, packed) = (u16_at(jar, line + 10)?, u32_at(jar, line + 20)? as usize);
    let header = u32_at(jar, line + 42)? as usize;
    let start = header + 30 + u16_at(jar, header + 26)? + u16_at(jar, header + 28)?;
    let packed = slice(jar, start, packed)?;
    match method {
        STORED => Ok(packed.to_vec()),
        DEFLATED => {
            let mut content = Vec::new();
            DeflateDecoder::new(packed).read_to_end(&mut content).map_err(|error| error.to_string())?;
            Ok(content)
        }
        other => Err(format!("compression {other}")),
    }
}

/// The record at the end of the file; nothing follows it but a comment of at most 64 KiB.
fn find_end(jar: &[u8]) -> Option<usize> {
    let last = jar.len().checked_sub(22)?;
    (last.saturating_sub(0xffff)..=last).rev().find(|at| jar[*at..].starts_with(b"PK\x05\x06"))
}

fn slice(jar: &[u8], at: usize, length: usize) -> Result<&[u8], String> {
    jar.get(at..at + length).ok_or_else(|| format!("cut off at byte {at}"))
}

fn u16_at(jar: &[u8], at: usize) -> Result<usize, String> {
    Ok(slice(jar, at, 2)?.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

fn u32_at(jar: &[u8], at: usize) -> Result<u32, String> {
    Ok(slice(jar, at, 4)?.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

const STORED: usize = 0;
const DEFLATED: usize = 8;
