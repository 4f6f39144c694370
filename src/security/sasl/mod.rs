//! Who we say we are: the mechanisms of SASL as bytes in, bytes out.
//!
//! Rules this file keeps:
//! - an exchange owns no clock and no socket, and ends in [`Step::Done`] only when everything that the mechanism
//!   lets a client check has been checked;
//! - a new mechanism (OAUTHBEARER, GSSAPI) is one more variant of [`Credentials`] and of [`Exchange`]; running an
//!   exchange again on a live connection (KIP-368) needs nothing but a new [`Exchange`].

mod plain;
mod scram;

use crate::{Error, Result, error::ErrorKind};

use super::Secret;

/// An identity and the mechanism that proves it (`sasl.mechanism` with `sasl.jaas.config`).
#[derive(Debug, Clone)]
pub struct Sasl {
    credentials: Credentials,
}

#[derive(Debug, Clone)]
enum Credentials {
    Plain { username: String, password: Secret },
    Scram { hash: scram::Hash, username: String, password: Secret, delegation_token: bool },
}

impl Sasl {
    /// `PLAIN`: the password itself is sent. Use it over TLS only.
    pub fn plain(username: impl Into<String>, password: impl Into<String>) -> Self {
        let credentials = Credentials::Plain { username: username.into(), password: Secret(password.into()) };
        Self { credentials }
    }

    /// `SCRAM-SHA-256`: both sides prove that they know the password, which is not sent.
    pub fn scram_sha_256(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::scram(scram::Hash::Sha256, username.into(), password.into())
    }

    /// `SCRAM-SHA-512`: as [`scram_sha_256`](Self::scram_sha_256) with the longer hash.
    pub fn scram_sha_512(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::scram(scram::Hash::Sha512, username.into(), password.into())
    }

    fn scram(hash: scram::Hash, username: String, password: String) -> Self {
        let password = Secret(password);
        Self { credentials: Credentials::Scram { hash, username, password, delegation_token: false } }
    }

    /// The same, saying that name and password are the id and the HMAC of a delegation token (KIP-48, the option
    /// `tokenauth=true` of `ScramLoginModule`). It has a meaning with SCRAM only.
    #[must_use]
    pub fn with_delegation_token(mut self) -> Self {
        if let Credentials::Scram { delegation_token, .. } = &mut self.credentials {
            *delegation_token = true;
        }
        self
    }

    /// Kafka's name of the mechanism.
    pub fn mechanism(&self) -> &'static str {
        match &self.credentials {
            Credentials::Plain { .. } => "PLAIN",
            Credentials::Scram { hash, .. } => hash.mechanism(),
        }
    }

    /// Who is authenticated.
    pub fn username(&self) -> &str {
        match &self.credentials {
            Credentials::Plain { username, .. } | Credentials::Scram { username, .. } => username,
        }
    }

    /// Begins an exchange: one connection authenticates once.
    pub(crate) fn exchange(&self) -> Result<Exchange> {
        match &self.credentials {
            Credentials::Plain { username, password } => {
                plain::Plain::new(username, password.expose()).map(Exchange::Plain)
            }
            Credentials::Scram { hash, username, password, delegation_token } => {
                let nonce = scram::fresh_nonce()?;
                scram::Scram::new(*hash, username, password.clone(), *delegation_token, nonce).map(Exchange::Scram)
            }
        }
    }
}

/// One authentication on its way.
#[derive(Debug)]
pub(crate) enum Exchange {
    Plain(plain::Plain),
    Scram(scram::Scram),
    /// Moved away while its keys are derived, or failed there.
    Over,
}

/// What to do after a challenge.
#[derive(PartialEq, Eq)]
pub(crate) enum Step {
    /// Send these bytes and wait for another challenge.
    Respond(Vec<u8>),
    /// The server has accepted us, and we it.
    Done,
}

impl Exchange {
    /// The bytes that the client sends first.
    pub(crate) fn first(&mut self) -> Vec<u8> {
        match self {
            Self::Plain(plain) => plain.first(),
            Self::Scram(scram) => scram.first(),
            Self::Over => Vec::new(),
        }
    }

    /// Takes what the server answered. May burn milliseconds of CPU where [`is_slow`](Self::is_slow) says so.
    pub(crate) fn step(&mut self, challenge: &[u8]) -> Result<Step> {
        match self {
            Self::Plain(plain) => plain.step(challenge),
            Self::Scram(scram) => scram.step(challenge),
            Self::Over => Err(refused("the SASL exchange is over")),
        }
    }

    /// Whether the next step derives keys and so does not belong on an async thread.
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Over => false,
            Self::Scram(scram) => scram.is_slow(),
        }
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Authentication, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_in_debug_of_sasl_or_its_exchange() {
        for sasl in [
            Sasl::plain("alice", "hunter2"),
            Sasl::scram_sha_256("alice", "hunter2"),
            Sasl::scram_sha_512("alice", "hunter2"),
        ] {
            let mut exchange = sasl.exchange().expect("valid");
            let before = format!("{sasl:?} {exchange:?}");
            exchange.first();
            let after = format!("{exchange:?}");
            assert!(!before.contains("hunter2") && !after.contains("hunter2"), "{before} {after}");
            let bytes = format!("{:?}", "hunter2".as_bytes());
            assert!(!before.contains(bytes.trim_matches(['[', ']'])), "{before}");
        }
    }

    #[test]
    fn mechanisms_have_kafkas_names() {
        assert_eq!(Sasl::plain("a", "b").mechanism(), "PLAIN");
        assert_eq!(Sasl::scram_sha_256("a", "b").mechanism(), "SCRAM-SHA-256");
        assert_eq!(Sasl::scram_sha_512("a", "b").mechanism(), "SCRAM-SHA-512");
    }
}
