//! SASL SCRAM (RFC 5802, 7677) with SHA-256 and SHA-512: a proof of the password in both directions.
//!
//! Rules this file keeps:
//! - the server's nonce must extend ours, its signature must be right, and the comparison takes the same time
//!   wherever the first difference is: a server that does not know the password is never believed;
//! - the iteration count is bounded below ([`MIN_ITERATIONS`], against a weak proof that is easy to search) and above
//!   ([`MAX_ITERATIONS`], against a server that wants to burn our CPU);
//! - no channel binding (`n,,`): Kafka's brokers offer none;
//! - names and passwords are taken as UTF-8 without SASLprep, because Kafka's brokers store them so.
//!
//! ```text
//!   Begin ──first──▶ Greeted ──step(server-first)──▶ Proved ──step(server-final)──▶ Over
//!                       └──────────── any error ────────┴─────────────────────────────▲
//! ```

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha256, Sha512};

use crate::{Error, Result, error::ErrorKind};

use super::{super::Secret, Step, refused};

/// The fewest rounds that are accepted: what Kafka's brokers ask for at least.
const MIN_ITERATIONS: u32 = 4096;
/// The most rounds that are accepted: over half a second of CPU with SHA-512.
const MAX_ITERATIONS: u32 = 1_000_000;
/// The longest message of a server that is looked at.
const MAX_MESSAGE: usize = 64 * 1024;

/// Which hash the mechanism uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// The exchange.
pub(crate) struct Scram {
    hash: Hash,
    state: State,
}

enum State {
    Begin { first_bare: String, nonce: String, password: Secret },
    Greeted { first_bare: String, nonce: String, password: Secret },
    Proved { server_key: Vec<u8>, auth_message: String },
    Over,
}

impl Scram {
    /// Begins with a nonce that is fresh and unpredictable, printable and without a comma.
    pub(super) fn new(
        hash: Hash,
        username: &str,
        password: Secret,
        delegation_token: bool,
        nonce: String,
    ) -> Result<Self> {
        if username.is_empty() {
            return Err(Error::new(ErrorKind::Config, format!("the name for SASL {} is empty", hash.mechanism())));
        }
        let extension = if delegation_token { ",tokenauth=true" } else { "" };
        let first_bare = format!("n={},r={nonce}{extension}", escape(username));
        Ok(Self { hash, state: State::Begin { first_bare, nonce, password } })
    }

    pub(super) fn first(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Begin { first_bare, nonce, password } => {
                let message = format!("{GS2_HEADER}{first_bare}").into_bytes();
                self.state = State::Greeted { first_bare, nonce, password };
                message
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        matches!(self.state, State::Greeted { .. })
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step> {
        let challenge = self.text(challenge)?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Greeted { first_bare, nonce, password } => {
                let server = self.server_first(challenge, &nonce)?;
                self.prove(&first_bare, challenge, &server, &password)
            }
            State::Proved { server_key, auth_message } => self.check(challenge, &server_key, &auth_message),
            State::Begin { .. } | State::Over => Err(self.broken("the broker sent a challenge that nobody waits for")),
        }
    }

    fn text<'a>(&self, challenge: &'a [u8]) -> Result<&'a str> {
        if challenge.len() > MAX_MESSAGE {
            return Err(self.broken(&format!(
                "the broker's message of {} bytes is over the limit of {MAX_MESSAGE}",
                challenge.len()
            )));
        }
        std::str::from_utf8(challenge).map_err(|_| self.broken("the broker's message is not UTF-8"))
    }

    fn server_first(&self, message: &str, nonce: &str) -> Result<ServerFirst> {
        let mut fields = message.split(',');
        let mut field = |name: &str| {
            let found =
                fields.next().and_then(|field| field.strip_prefix(name)).and_then(|field| field.strip_prefix('='));
            found.ok_or_else(|| self.broken(&format!("the broker's first message lacks `{name}=` at its place")))
        };
        // A mandatory extension `m=` would stand before `r=`; it is refused as RFC 5802 §5.1 asks.
        let (full_nonce, salt, iterations) = (field("r")?, field("s")?, field("i")?);
        if full_nonce.len() <= nonce.len() || !full_nonce.starts_with(nonce) {
            return Err(self.broken("the broker's nonce does not extend ours, so its message may be a replay"));
        }
        let salt = BASE64.decode(salt).map_err(|_| self.broken("the broker's salt is not base64"))?;
        if salt.is_empty() {
            return Err(self.broken("the broker's salt is empty"));
        }
        let iterations = iterations.parse().map_err(|_| self.broken("the broker's iteration count is not a number"))?;
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            let range = format!("{MIN_ITERATIONS} to {MAX_ITERATIONS} are accepted");
            return Err(self.broken(&format!("the broker asks for {iterations} iterations, {range}")));
        }
        Ok(ServerFirst { nonce: full_nonce.to_owned(), salt, iterations })
    }

    fn prove(&mut self, first_bare: &str, server_first: &str, server: &ServerFirst, password: &Secret) -> Result<Step> {
        let salted = self.hash.derive(password.expose().as_bytes(), &server.salt, server.iterations);
        let client_key = self.hash.hmac(&salted, b"Client Key")?;
        let stored_key = self.hash.digest(&client_key);
        let without_proof = format!("c={},r={}", BASE64.encode(GS2_HEADER), server.nonce);
        let auth_message = format!("{first_bare},{server_first},{without_proof}");
        let signature = self.hash.hmac(&stored_key, auth_message.as_bytes())?;
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
        let response = format!("{without_proof},p={}", BASE64.encode(proof));
        self.state = State::Proved { server_key: self.hash.hmac(&salted, b"Server Key")?, auth_message };
        Ok(Step::Respond(response.into_bytes()))
    }

    fn check(&self, message: &str, server_key: &[u8], auth_message: &str) -> Result<Step> {
        let field = message.split(',').next().unwrap_or_default();
        if let Some(error) = field.strip_prefix("e=") {
            return Err(refused(format!(
                "the broker ended SASL {} with `{}`",
                self.hash.mechanism(),
                error.escape_debug()
            )));
        }
        let signature =
            field.strip_prefix("v=").ok_or_else(|| self.broken("the broker's last message has no signature"))?;
        let signature = BASE64.decode(signature).map_err(|_| self.broken("the broker's signature is not base64"))?;
        if !self.hash.verify(server_key, auth_message.as_bytes(), &signature) {
            return Err(
                self.broken("the broker's signature is wrong: it does not know the password, so it is not trusted")
            );
        }
        Ok(Step::Done)
    }

    fn broken(&self, why: &str) -> Error {
        refused(format!("SASL {} failed: {why}", self.hash.mechanism()))
    }
}

impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Begin { .. } => "Begin",
            State::Greeted { .. } => "Greeted",
            State::Proved { .. } => "Proved",
            State::Over => "Over",
        };
        write!(f, "Scram({}, {state})", self.hash.mechanism())
    }
}

struct ServerFirst {
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl Hash {
    pub(super) fn mechanism(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, data).map(|mac| mac.finalize().into_bytes().to_vec()),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key, data).map(|mac| mac.finalize().into_bytes().to_vec()),
        }
    }

    /// Compares in constant time.
    fn verify(self, key: &[u8], data: &[u8], tag: &[u8]) -> bool {
        match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, data).is_ok_and(|mac| mac.verify_slice(tag).is_ok()),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key, data).is_ok_and(|mac| mac.verify_slice(tag).is_ok()),
        }
    }

    fn derive(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut key = vec![0; if self == Self::Sha256 { 32 } else { 64 }];
        match self {
            Self::Sha256 => pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut key),
            Self::Sha512 => pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut key),
        }
        key
    }
}

/// 192 random bits in base64, whose alphabet has no comma.
pub(super) fn fresh_nonce() -> Result<String> {
    let mut random = [0; 24];
    getrandom::fill(&mut random)
        .map_err(|error| Error::new(ErrorKind::Io, format!("the system gives no random bytes for SASL: {error}")))?;
    Ok(BASE64.encode(random))
}

fn keyed<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Result<M> {
    let mac = <M as KeyInit>::new_from_slice(key).map_err(|_| refused("a SCRAM key has an impossible length"))?;
    Ok(mac.chain_update(data))
}

/// A name as RFC 5802 writes it: `=` and `,` have a meaning of their own there.
fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

const GS2_HEADER: &str = "n,,";

#[cfg(test)]
mod tests;
