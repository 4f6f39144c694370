//! Who a client is: SASL as a broker does it, with PLAIN and SCRAM (RFC 5802, 7677).
//!
//! Rules this file keeps:
//! - it is written from the RFCs and from what Kafka's brokers do, and uses nothing of the client's SASL;
//! - before a client has shown who it is, ApiVersions, SaslHandshake and SaslAuthenticate are all that it may send, and
//!   whatever is wrong with them ends the connection; the answer does not tell whether a user exists;
//! - secrets are compared in the same time wherever the first difference is, and no `Debug` shows one;
//! - a session has an end if the cluster wants it (KIP-368): from then on only a new handshake is taken.
//!
//! ```text
//!   Greeting ──SaslHandshake──▶ Proving ──token(s)──▶ Proven ──SaslHandshake (KIP-368)──▶ Proving …
//!   (ApiVersions once)             └───── anything wrong: the connection ends
//!   Open: the listener asks nobody who he is
//! ```

mod scram;

use std::{collections::BTreeMap, fmt, time::Duration};

use kafka_protocol::{ResponseError, messages::ApiKey};
use tokio::time::Instant;

use self::scram::{Conversation, Hash, Stored};

/// A way to show who one is. Kafka's property: `sasl.enabled.mechanisms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// Name and password as they are.
    Plain,
    /// A proof of the password by SHA-256.
    ScramSha256,
    /// A proof of the password by SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// The name in SaslHandshake.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    fn exchange(self) -> Exchange {
        match self {
            Self::Plain => Exchange::Plain,
            Self::ScramSha256 => Exchange::Scram(Conversation::new(Hash::Sha256)),
            Self::ScramSha512 => Exchange::Scram(Conversation::new(Hash::Sha512)),
        }
    }
}

/// Who may come in and how: what a builder sets.
#[derive(Debug, Clone)]
pub(super) struct Sasl {
    pub(super) mechanisms: Vec<SaslMechanism>,
    users: BTreeMap<String, User>,
    disguise: Disguise,
    /// How long a client is believed. Kafka's property: `connections.max.reauth.ms`.
    pub(super) lifetime: Option<Duration>,
}

impl Default for Sasl {
    fn default() -> Self {
        let mechanisms = vec![SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512];
        Self { mechanisms, users: BTreeMap::new(), disguise: Disguise::default(), lifetime: None }
    }
}

#[derive(Clone)]
struct User {
    password: String,
    /// What a broker stores for SCRAM, made when the first client asks.
    sha_256: std::sync::OnceLock<Stored>,
    sha_512: std::sync::OnceLock<Stored>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User(password hidden)")
    }
}

/// The key by which users that do not exist get their salts, made when the first of them comes.
#[derive(Clone, Default)]
struct Disguise(std::sync::OnceLock<u128>);

impl fmt::Debug for Disguise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disguise(key hidden)")
    }
}

impl Sasl {
    pub(super) fn add_user(&mut self, name: String, password: String) {
        let user = User { password, sha_256: Default::default(), sha_512: Default::default() };
        self.users.insert(name, user);
    }

    pub(super) fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// What SCRAM is to go on with; an unknown user is found out at the proof, as a wrong password is.
    fn stored(&self, name: &str, hash: Hash) -> Stored {
        let Some(user) = self.users.get(name) else {
            let key = self.disguise.0.get_or_init(|| fastrand::u128(..));
            return Stored::made_up(hash, &key.to_be_bytes(), name);
        };
        let place = match hash {
            Hash::Sha256 => &user.sha_256,
            Hash::Sha512 => &user.sha_512,
        };
        place.get_or_init(|| Stored::of(hash, &user.password)).clone()
    }

    /// Name and password as PLAIN sends them (RFC 4616): `[authzid] NUL authcid NUL password`.
    fn plain(&self, token: &[u8]) -> Result<String, &'static str> {
        let parts: Vec<&[u8]> = token.split(|byte| *byte == 0).collect();
        let [acting_for, name, password] = parts.as_slice() else { return Err("Invalid SASL/PLAIN response") };
        let Ok(name) = std::str::from_utf8(name) else { return Err(INVALID_PLAIN) };
        if !acting_for.is_empty() && *acting_for != name.as_bytes() {
            return Err("Authentication failed: Client requested an authorization id that is different from username");
        }
        // An unknown user costs a comparison too.
        let expected = self.users.get(name).map_or("", |user| &user.password);
        let right = same(&scram::digest(expected.as_bytes()), &scram::digest(password));
        if right && self.users.contains_key(name) { Ok(name.to_owned()) } else { Err(INVALID_PLAIN) }
    }
}

/// How far a connection has shown who is at its other end.
#[derive(Debug)]
pub(super) enum Stage {
    /// Nobody has to.
    Open,
    /// It may ask for versions, once, and has to choose a mechanism.
    Greeting { told_versions: bool },
    /// It has chosen one.
    Proving(Box<Proving>),
    /// It has shown who it is.
    Proven(Proven),
}

#[derive(Debug)]
pub(super) struct Proving {
    mechanism: SaslMechanism,
    exchange: Exchange,
    /// Whether tokens come without a request around them (SaslHandshake version 0).
    raw: bool,
    /// Who it was before, if it shows its credentials again.
    before: Option<Proven>,
}

#[derive(Debug, Clone)]
pub(super) struct Proven {
    user: String,
    mechanism: SaslMechanism,
    expires: Option<Instant>,
    /// When it last began to show its credentials again.
    began_again: Option<Instant>,
}

#[derive(Debug)]
enum Exchange {
    Plain,
    Scram(Conversation),
}

/// What becomes of a request of a connection in some stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Serve,
    /// It is no request, but a token.
    Token,
    Close,
}

/// The answer to a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) token: Vec<u8>,
    /// How long the client is believed, once it has shown everything.
    pub(super) lifetime: Option<Duration>,
}

/// Why a token is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It was not the time for one. The connection goes on.
    NotNow(&'static str),
    /// The connection ends after these words.
    Failed(String),
    /// The connection ends.
    HangUp,
}

impl Stage {
    pub(super) fn is_proven(&self) -> bool {
        matches!(self, Self::Open | Self::Proven(_))
    }

    /// The name that was proven.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Proven(proven) => Some(&proven.user),
            Self::Proving(proving) => proving.before.as_ref().map(|proven| proven.user.as_str()),
            Self::Open | Self::Greeting { .. } => None,
        }
    }

    /// Whether a frame may be looked at at all, before it is.
    pub(super) fn admit(&mut self, key: i16, now: Instant) -> Admission {
        let is = |api: ApiKey| key == api as i16;
        match self {
            Self::Open => Admission::Serve,
            Self::Greeting { told_versions: false } if is(ApiKey::ApiVersions) => Admission::Serve,
            Self::Greeting { .. } if is(ApiKey::SaslHandshake) => Admission::Serve,
            Self::Proving(proving) if proving.raw => Admission::Token,
            Self::Proving(_) if is(ApiKey::SaslAuthenticate) => Admission::Serve,
            Self::Greeting { .. } | Self::Proving(_) => Admission::Close,
            // The end of a session shows with the next request, and a handshake begins a new one (KIP-368).
            Self::Proven(proven) if proven.expires.is_some_and(|end| end <= now) && !is(ApiKey::SaslHandshake) => {
                Admission::Close
            }
            Self::Proven(_) => Admission::Serve,
        }
    }

    /// ApiVersions was answered well.
    pub(super) fn versions_told(&mut self) {
        if let Self::Greeting { told_versions } = self {
            *told_versions = true;
        }
    }

    /// The client chooses a mechanism.
    ///
    /// # Errors
    /// The code of the answer: the connection ends unless it is ILLEGAL_SASL_STATE.
    pub(super) fn choose(&mut self, sasl: &Sasl, name: &str, version: i16, now: Instant) -> Result<(), ResponseError> {
        let before = match self {
            Self::Open | Self::Proving(_) => return Err(ResponseError::IllegalSaslState),
            Self::Greeting { .. } => None,
            // At most once a second, as Kafka has it.
            Self::Proven(proven) if proven.began_again.is_some_and(|last| now < last + A_SECOND) => {
                return Err(ResponseError::IllegalSaslState);
            }
            Self::Proven(proven) => Some(Proven { began_again: Some(now), ..proven.clone() }),
        };
        let chosen = sasl.mechanisms.iter().find(|mechanism| mechanism.name() == name);
        let mechanism = *chosen.ok_or(ResponseError::UnsupportedSaslMechanism)?;
        let raw = version == 0;
        *self = Self::Proving(Box::new(Proving { mechanism, exchange: mechanism.exchange(), raw, before }));
        Ok(())
    }

    /// The client shows something.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(super) fn prove(&mut self, sasl: &Sasl, token: &[u8], now: Instant) -> Result<Answer, Refusal> {
        let Self::Proving(proving) = self else {
            return Err(Refusal::NotNow("SaslAuthenticate request received after successful authentication"));
        };
        if proving.before.as_ref().is_some_and(|before| before.mechanism != proving.mechanism) {
            return Err(Refusal::HangUp);
        }
        let (answer, user) = proving.step(sasl, token)?;
        let Some(user) = user else { return Ok(Answer { token: answer, lifetime: None }) };
        let before = proving.before.take();
        if let Some(before) = before.as_ref().filter(|before| before.user != user) {
            let (old, new) = (&before.user, &user);
            let why = format!("Cannot change principals during re-authentication from User.{old}: User.{new}");
            return Err(Refusal::Failed(why));
        }
        let (mechanism, expires) = (proving.mechanism, sasl.lifetime.map(|lifetime| now + lifetime));
        let began_again = before.and_then(|before| before.began_again);
        *self = Self::Proven(Proven { user, mechanism, expires, began_again });
        Ok(Answer { token: answer, lifetime: sasl.lifetime })
    }
}

impl Proving {
    /// The next token for the client, and the user's name at the end.
    fn step(&mut self, sasl: &Sasl, token: &[u8]) -> Result<(Vec<u8>, Option<String>), Refusal> {
        match &mut self.exchange {
            Exchange::Plain => match sasl.plain(token) {
                Ok(user) => Ok((Vec::new(), Some(user))),
                Err(why) => Err(Refusal::Failed(why.to_owned())),
            },
            Exchange::Scram(conversation) => conversation.step(token, |name, hash| sasl.stored(name, hash)).ok_or_else(|| {
                let again = if self.before.is_some() { "re-authentication" } else { "authentication" };
                let mechanism = self.mechanism.name();
                Refusal::Failed(format!(
                    "Authentication failed during {again} due to invalid credentials with SASL mechanism {mechanism}"
                ))
            }),
        }
    }
}

/// Whether two secrets are equal, without telling where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

const INVALID_PLAIN: &str = "Authentication failed: Invalid username or password";

const A_SECOND: Duration = Duration::from_secs(1);
