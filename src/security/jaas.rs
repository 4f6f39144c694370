//! Reads `sasl.jaas.config`: one login module of Java's configuration language and its options.
//!
//! Rules this file keeps:
//! - an error says where and what was expected, and never repeats the text: passwords stand in it;
//! - exactly one login module, as Kafka's client asks.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

/// One entry: `class flag option=value … ;`.
pub(super) struct LoginModule {
    pub(super) class: String,
    options: BTreeMap<String, String>,
}

impl LoginModule {
    /// Parses the value of the property.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut input = Lexer { chars: text.chars().peekable(), at: 0 };
        let class = input.word("the class name of a login module")?;
        let flag = input.word("a control flag such as `required`")?;
        if !FLAGS.iter().any(|known| known.eq_ignore_ascii_case(&flag)) {
            return Err(format!("the word after the class name must be one of {}", FLAGS.join(", ")));
        }
        let options = Self::options(&mut input)?;
        match input.next()? {
            None => Ok(Self { class, options }),
            Some(_) => {
                Err(format!("only one login module may stand here, and text follows its `;` (character {})", input.at))
            }
        }
    }

    fn options(input: &mut Lexer<'_>) -> Result<BTreeMap<String, String>, String> {
        let mut options = BTreeMap::new();
        loop {
            let name = match input.next()? {
                Some(Token::End) => return Ok(options),
                Some(Token::Word(name)) => name,
                Some(Token::Equals) => {
                    return Err(format!("an option name is missing before `=` (character {})", input.at));
                }
                None => return Err("it must end with `;`".to_owned()),
            };
            match input.next()? {
                Some(Token::Equals) => {}
                _ => return Err(format!("an option is not followed by `=` (character {})", input.at)),
            }
            let value = input.word("the value of an option")?;
            options.insert(name, value);
        }
    }

    /// The last part of the class name, which is what tells the stock modules apart.
    pub(super) fn simple_name(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    /// An option that must be there.
    pub(super) fn required(&self, name: &str) -> Result<String, String> {
        self.options.get(name).cloned().ok_or_else(|| format!("{} needs the option `{name}`", self.simple_name()))
    }

    /// An option that may be there.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }
}

enum Token {
    Word(String),
    Equals,
    End,
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    at: usize,
}

impl Lexer<'_> {
    fn bump(&mut self) -> Option<char> {
        self.at += 1;
        self.chars.next()
    }

    fn word(&mut self, expected: &str) -> Result<String, String> {
        match self.next()? {
            Some(Token::Word(word)) => Ok(word),
            _ => Err(format!("{expected} is missing (character {})", self.at)),
        }
    }

    fn next(&mut self) -> Result<Option<Token>, String> {
        while self.chars.next_if(|c| c.is_whitespace()).is_some() {
            self.at += 1;
        }
        let Some(first) = self.bump() else { return Ok(None) };
        match first {
            '=' => Ok(Some(Token::Equals)),
            ';' => Ok(Some(Token::End)),
            '"' | '\'' => self.quoted(first).map(|word| Some(Token::Word(word))),
            first => Ok(Some(Token::Word(self.bare(first)))),
        }
    }

    fn bare(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some(c) = self.chars.next_if(|c| !c.is_whitespace() && !"=;\"'".contains(*c)) {
            self.at += 1;
            word.push(c);
        }
        word
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let opened_at = self.at;
        let mut word = String::new();
        loop {
            match self.bump() {
                Some(c) if c == quote => return Ok(word),
                Some('\\') => word.push(self.escaped(opened_at)?),
                Some(c) => word.push(c),
                None => return Err(unclosed(opened_at)),
            }
        }
    }

    fn escaped(&mut self, opened_at: usize) -> Result<char, String> {
        Ok(match self.bump().ok_or_else(|| unclosed(opened_at))? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            digit @ '0'..='7' => self.octal(digit),
            other => other,
        })
    }

    /// Up to three octal digits, at most `\377`, as in Java's string literals.
    fn octal(&mut self, first: char) -> char {
        let mut value = first.to_digit(8).unwrap_or_default();
        for _ in 0..2 {
            if value > 0o37 {
                break;
            }
            let Some(digit) = self.chars.next_if(|c| c.is_digit(8)) else { break };
            self.at += 1;
            value = value * 8 + digit.to_digit(8).unwrap_or_default();
        }
        char::from_u32(value).unwrap_or_default()
    }
}

fn unclosed(opened_at: usize) -> String {
    format!("the quote opened at character {opened_at} is never closed")
}

const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_java_reads() {
        type Options = &'static [(&'static str, &'static str)];
        let table: &[(&str, &str, Options)] = &[
            (
                "a.b.PlainLoginModule required username=\"u\" password=\"p\";",
                "PlainLoginModule",
                &[("username", "u"), ("password", "p")],
            ),
            (
                "PlainLoginModule Required\n  username='u v'\tpassword=p-1 ;",
                "PlainLoginModule",
                &[("username", "u v"), ("password", "p-1")],
            ),
            (r#"M required password="a\"b\\c\td\101" ;"#, "M", &[("password", "a\"b\\c\tdA")]),
            (
                r#"M required password="semi;colon=equals 'single'" ;"#,
                "M",
                &[("password", "semi;colon=equals 'single'")],
            ),
            ("M required password=\"pässwörd €\" ;", "M", &[("password", "pässwörd €")]),
            ("M required password=\"\" ;", "M", &[("password", "")]),
            ("M required;", "M", &[]),
        ];
        for (text, class, options) in table {
            let module = LoginModule::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(module.simple_name(), *class);
            assert_eq!(module.options.len(), options.len(), "{text}");
            for (name, value) in *options {
                assert_eq!(module.option(name), Some(*value), "{text}");
            }
        }
    }

    #[test]
    fn refuses_without_repeating_the_text() {
        let table = [
            ("", "class name"),
            ("hunter2", "control flag"),
            ("M hunter2 password=\"hunter2\";", "required, requisite"),
            ("M required password=\"hunter2\"", "must end with `;`"),
            ("M required password \"hunter2\";", "not followed by `=`"),
            ("M required password=;", "value of an option"),
            ("M required =hunter2;", "name is missing"),
            ("M required password=\"hunter2;", "never closed"),
            ("M required password=\"hunter2\\", "never closed"),
            ("M required; N required password=hunter2;", "only one"),
        ];
        for (text, expected) in table {
            let error = LoginModule::parse(text).map(|_| ()).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_missing_option_is_named() {
        let module = LoginModule::parse("x.PlainLoginModule required username=u;").expect("valid");
        assert_eq!(module.required("username").as_deref(), Ok("u"));
        assert_eq!(module.required("password"), Err("PlainLoginModule needs the option `password`".to_owned()));
    }
}
