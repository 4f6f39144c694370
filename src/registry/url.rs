//! Where a registry is: `scheme://user:password@host:port/path`, taken apart once.
//!
//! Rules this file keeps:
//! - a path in the URL is kept, requests are joined to it;
//! - user and password are taken out before anything can print the URL.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::error::{Error, ErrorKind, Result};

/// One address of a registry, without credentials in what it prints.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct BaseUrl {
    pub(super) tls: bool,
    /// A name, an IPv4 address or an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Starts with `/` or is empty; never ends with `/`.
    pub(super) path: String,
    /// The value of the header `Authorization` that the URL's own user and password make.
    pub(super) authorization: Option<Authorization>,
}

/// A value of the header `Authorization`. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authorization(pub(super) String);

impl Authorization {
    pub(super) fn basic(user: &str, password: &str) -> Self {
        Self(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl BaseUrl {
    /// Reads one URL.
    ///
    /// # Errors
    /// `Config`, naming what is wrong; the text of the URL is not repeated, it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) =
            text.trim().split_once("://").ok_or_else(|| bad("it must start with http:// or https://"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(bad("its scheme must be http or https")),
        };
        if rest.contains(['?', '#']) || rest.contains(|c: char| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
            return Err(bad("it may hold no query, fragment, space or non-ASCII character"));
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (user_info, host_port) = match authority.rsplit_once('@') {
            Some((user_info, host_port)) => (Some(user_info), host_port),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host_port, if tls { 443 } else { 80 })?;
        let authorization = user_info.map(user_info_to_authorization).transpose()?;
        Ok(Self { tls, host, port, path: path.trim_end_matches('/').to_owned(), authorization })
    }

    /// What the header `Host` says.
    pub(super) fn authority(&self) -> String {
        let port = if self.tls { 443 } else { 80 };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        if self.port == port {
            format!("{open}{}{close}", self.host)
        } else {
            format!("{open}{}{close}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A subject as one segment of a path: everything but the unreserved characters is percent-encoded.
pub(super) fn encode_segment(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    // A segment of dots alone would be taken for a step in the path.
    if segment == "." || segment == ".." { out.replace('.', "%2E") } else { out }
}

fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or_else(|| bad("its IPv6 address has no closing bracket"))?;
            (host, tail)
        }
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    if host.is_empty() {
        return Err(bad("it names no host"));
    }
    let port = match port {
        "" => default_port,
        port => port
            .strip_prefix(':')
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0)
            .ok_or_else(|| bad("its port must be a number from 1 to 65535"))?,
    };
    Ok((host.to_owned(), port))
}

fn user_info_to_authorization(user_info: &str) -> Result<Authorization> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    Ok(Authorization::basic(&decode_percent(user)?, &decode_percent(password)?))
}

fn decode_percent(text: &str) -> Result<String> {
    let broken = || bad("the user or password in it has a % that is not followed by two hexadecimal digits of UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| (digit as char).to_digit(16)).ok_or_else(broken);
        bytes.push((digit()? << 4 | digit()?) as u8);
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

fn bad(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("schema.registry.url: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, shown, host, port, path) in [
            ("http://localhost:8081", "http://localhost:8081", "localhost", 8081, ""),
            ("http://localhost", "http://localhost", "localhost", 80, ""),
            (" https://r.example/ ", "https://r.example", "r.example", 443, ""),
            ("http://h:1/apis/ccompat/v7/", "http://h:1/apis/ccompat/v7", "h", 1, "/apis/ccompat/v7"),
            ("http://[::1]:8081/x", "http://[::1]:8081/x", "::1", 8081, "/x"),
            ("HTTP://alice:se%40cret@h:2", "http://h:2", "h", 2, ""),
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.path.as_str()), (host, port, path), "{text}");
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown, "a password must never be printed");
        }
    }

    #[test]
    fn user_and_password_become_basic_authorization() {
        let url = BaseUrl::parse("http://alice:se%40cret@h").unwrap();
        assert_eq!(url.authorization, Some(Authorization::basic("alice", "se@cret")));
        assert_eq!(url.authorization.as_ref().unwrap().0, "Basic YWxpY2U6c2VAY3JldA==");
        assert_eq!(format!("{:?}", url.authorization), "Some([hidden])");
    }

    #[test]
    fn bad_urls_are_refused_without_repeating_them() {
        for (text, needle) in [
            ("localhost:8081", "must start with"),
            ("ftp://secret@h", "scheme"),
            ("http://", "no host"),
            ("http://:80", "no host"),
            ("http://h:0", "port"),
            ("http://h:99999", "port"),
            ("http://[::1", "bracket"),
            ("http://h/?a=b", "query"),
            ("http://u:secret%4@h", "two hexadecimal digits"),
        ] {
            let error = BaseUrl::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = error.to_string();
            assert!(shown.contains(needle) && !shown.contains("secret"), "{text}: {shown}");
        }
    }

    #[test]
    fn subjects_are_one_segment() {
        for (subject, encoded) in [
            ("orders-value", "orders-value"),
            (":.c1:a/b", "%3A.c1%3Aa%2Fb"),
            ("größe %", "gr%C3%B6%C3%9Fe%20%25"),
            ("..", "%2E%2E"),
        ] {
            assert_eq!(encode_segment(subject), encoded);
        }
    }
}
