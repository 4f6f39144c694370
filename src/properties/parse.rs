//! The text of a Java `.properties` file, read into pairs.
//!
//! Rules this file keeps:
//! - what `java.util.Properties.load` accepts is accepted with the same result, read as UTF-8;
//! - what Java lets pass in silence but is surely a mistake (half a surrogate pair) is an error;
//! - every error names the line on which the entry stands.

use crate::error::{Error, ErrorKind, Result};

/// Reads all entries of `text`, in their order.
///
/// # Errors
/// A malformed `\u` escape or an entry without a name, with its line number.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>> {
    let mut lines =
        text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).flat_map(|line| line.split('\r'));
    let mut number = 0;
    let mut entries = Vec::new();
    while let Some(line) = lines.next() {
        number += 1;
        let first = line.trim_start_matches(BLANKS);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let at = number;
        let mut logical = first.to_owned();
        while ends_in_open_escape(&logical) {
            logical.pop();
            let Some(next) = lines.next() else { break };
            number += 1;
            logical.push_str(next.trim_start_matches(BLANKS));
        }
        entries.push(entry(&logical, at)?);
    }
    Ok(entries)
}

/// Splits one logical line at the first separator that is not escaped.
fn entry(line: &str, at: usize) -> Result<(String, String)> {
    let name_end = end_of_name(line);
    let (name, rest) = line.split_at(name_end);
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(BLANKS);
    let name = unescape(name, at)?;
    if name.is_empty() {
        return Err(Error::new(ErrorKind::Config, format!("line {at}: an entry without a name")));
    }
    Ok((name, unescape(value, at)?))
}

fn end_of_name(line: &str) -> usize {
    let mut escaped = false;
    for (index, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if matches!(c, '=' | ':') || BLANKS.contains(&c) {
            return index;
        }
    }
    line.len()
}

/// An odd number of backslashes at the end: the line goes on.
fn ends_in_open_escape(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

fn unescape(text: &str, at: usize) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => out.push(unicode(&mut chars, at)?),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

/// One character after `\u`: four digits, or a surrogate pair as two escapes.
fn unicode(chars: &mut std::str::Chars<'_>, at: usize) -> Result<char> {
    let first = unit(chars, at)?;
    let mut units = vec![first];
    if (0xd800..0xdc00).contains(&first) && chars.as_str().starts_with("\\u") {
        chars.next();
        chars.next();
        units.push(unit(chars, at)?);
    }
    match char::decode_utf16(units).next() {
        Some(Ok(c)) => Ok(c),
        _ => Err(Error::new(ErrorKind::Config, format!("line {at}: \\u{first:04x} is half of a surrogate pair"))),
    }
}

fn unit(chars: &mut std::str::Chars<'_>, at: usize) -> Result<u16> {
    let digits: String = chars.take(4).collect();
    let hexadecimal = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(&digits, 16).ok()).flatten().ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("line {at}: \\u{digits} is not \\u and four hexadecimal digits"))
    })
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn entries_are_read_as_java_reads_them() {
        // Each right side is what java.util.Properties.load made of the left side.
        let table: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("acks=all", &[("acks", "all")]),
            ("acks = all\r\nb:2\rc 3", &[("acks", "all"), ("b", "2"), ("c", "3")]),
            ("# a=1\n  ! b=2\n\n \t\nc=3", &[("c", "3")]),
            ("a\\\n   b = c", &[("ab", "c")]),
            (" y : z\\u0041\\\n  w  \n", &[("y", "zAw  ")]),
            ("k\\ ey\\:=\\ v \\q", &[("k ey:", " v q")]),
            (" empty", &[("empty", "")]),
            ("a=1\\\n#notcomment", &[("a", "1#notcomment")]),
            ("a=1\\\\\nb=2", &[("a", "1\\"), ("b", "2")]),
            ("z=\\ud83d\\ude00 \\t\\n\\r\\f|", &[("z", "\u{1f600} \t\n\r\u{c}|")]),
            ("t = = v", &[("t", "= v")]),
            ("t==v", &[("t", "=v")]),
            ("last=\\", &[("last", "")]),
            ("\u{f6}=\u{1f600}", &[("\u{f6}", "\u{1f600}")]),
            ("a=1\na=2", &[("a", "1"), ("a", "2")]),
        ];
        for (text, expected) in table {
            let entries = parse(text).unwrap();
            let entries: Vec<_> = entries.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(&entries, expected, "{text:?}");
        }
    }

    #[test]
    fn errors_name_the_line_on_which_the_entry_begins() {
        let table = [
            ("a=1\nb=\\u00g0", "line 2: \\u00g0 is not"),
            ("a=\\\n  \\\n  x\n\nb=\\u12", "line 5: \\u12 is not"),
            ("\n\nc=\\ud83d", "line 3: \\ud83d is half"),
            ("c=\\ud83d\\u0041", "line 1: \\ud83d is half"),
            ("c=\\ude00", "line 1: \\ude00 is half"),
            ("c=\\u\u{e9}\u{e9}\u{e9}\u{e9}", "line 1: "),
            ("=x", "line 1: an entry without a name"),
        ];
        for (text, expected) in table {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{text:?}: {message}");
        }
    }
}
