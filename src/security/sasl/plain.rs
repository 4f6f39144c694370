//! SASL PLAIN (RFC 4616): name and password in one message.
//!
//! Rules this file keeps:
//! - no authorization identity is sent, as Kafka's own client does;
//! - a NUL in name or password is refused, because it would end the field early.

use std::fmt;

use crate::{Error, Result, error::ErrorKind};

use super::{Step, refused};

/// The exchange: one message, then an empty answer.
pub(crate) struct Plain {
    message: Vec<u8>,
}

impl Plain {
    pub(super) fn new(username: &str, password: &str) -> Result<Self> {
        for (what, text) in [("name", username), ("password", password)] {
            let problem = match text {
                "" => "is empty",
                text if text.contains('\0') => "contains a NUL",
                _ => continue,
            };
            return Err(Error::new(ErrorKind::Config, format!("the {what} for SASL PLAIN {problem}")));
        }
        Ok(Self { message: ["", username, password].join("\0").into_bytes() })
    }

    pub(super) fn first(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.message)
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step> {
        match challenge {
            [] => Ok(Step::Done),
            more => {
                Err(refused(format!("SASL PLAIN ends with an empty answer, but the broker sent {} bytes", more.len())))
            }
        }
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_and_an_empty_answer() {
        let mut plain = Plain::new("alice", "p€ss").expect("valid");
        assert_eq!(plain.first(), "\0alice\0p€ss".as_bytes());
        assert!(plain.step(b"").is_ok_and(|step| step == Step::Done));
        assert_eq!(plain.step(b"x").map(|_| ()).expect_err("leftovers").kind(), ErrorKind::Authentication);
    }

    #[test]
    fn a_nul_or_nothing_is_refused() {
        for (username, password) in [("", "p"), ("u", ""), ("u\0v", "p"), ("u", "hunter2\0")] {
            let error = Plain::new(username, password).map(|_| ()).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
