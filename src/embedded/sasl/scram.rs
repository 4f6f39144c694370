//! The server's half of SCRAM (RFC 5802): it stores no password, and proves in the end that it knew what it stores.
//!
//! Rules this file keeps:
//! - every step takes exactly the message that is due; anything else ends the conversation without a reason;
//! - no channel binding, and no other name to act for than one's own, as Kafka's brokers;
//! - names and passwords are taken as UTF-8 without SASLprep, as Kafka stores them.

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha256, Sha512};

use super::same;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// What stands for a password.
#[derive(Clone)]
pub(super) struct Stored {
    salt: String,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Stored {
    pub(super) fn of(hash: Hash, password: &str) -> Self {
        let salt: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        let salted = hash.salted(password.as_bytes(), &salt);
        let client_key = hash.mac(&salted, b"Client Key");
        Self {
            salt: BASE64.encode(salt),
            stored_key: hash.digest(&client_key),
            server_key: hash.mac(&salted, b"Server Key"),
        }
    }

    /// For a user that does not exist: it looks as that of another, is the same at every question, and is of no
    /// password. `key` is what only the cluster knows.
    pub(super) fn made_up(hash: Hash, key: &[u8], name: &str) -> Self {
        let salt = hash.mac(&hash.mac(key, b"Salt"), name.as_bytes());
        Self {
            salt: BASE64.encode(salt.get(..16).unwrap_or(&salt)),
            stored_key: hash.mac(&hash.mac(key, b"Stored Key"), name.as_bytes()),
            server_key: hash.mac(&hash.mac(key, b"Server Key"), name.as_bytes()),
        }
    }
}

impl Hash {
    fn salted(self, password: &[u8], salt: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => {
                let mut out = [0; 32];
                pbkdf2_hmac::<Sha256>(password, salt, ITERATIONS, &mut out);
                out.to_vec()
            }
            Self::Sha512 => {
                let mut out = [0; 64];
                pbkdf2_hmac::<Sha512>(password, salt, ITERATIONS, &mut out);
                out.to_vec()
            }
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn mac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => mac::<Hmac<Sha256>>(key, bytes),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, bytes),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

/// A digest to compare secrets of different lengths by.
pub(super) fn digest(bytes: &[u8]) -> Vec<u8> {
    Hash::Sha256.digest(bytes)
}

/// One conversation with a client.
pub(super) struct Conversation {
    hash: Hash,
    state: State,
}

/// Without what it holds, which is secret.
impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conversation({:?})", self.hash)
    }
}

enum State {
    Begin,
    /// The server's first message is out.
    Asked {
        user: String,
        stored: Stored,
        gs2_header: String,
        nonce: String,
        /// The two first messages, as the signatures cover them.
        spoken: String,
    },
    Over,
}

impl Conversation {
    pub(super) fn new(hash: Hash) -> Self {
        Self { hash, state: State::Begin }
    }

    /// The next message, and the user's name at the end; `None` if the client is not believed.
    pub(super) fn step(
        &mut self,
        message: &[u8],
        stored: impl Fn(&str, Hash) -> Stored,
    ) -> Option<(Vec<u8>, Option<String>)> {
        let message = std::str::from_utf8(message).ok()?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Begin => {
                let first = ClientFirst::parse(message)?;
                let stored = stored(&first.user, self.hash);
                let nonce = format!("{}{:032x}", first.nonce, fastrand::u128(..));
                let reply = format!("r={nonce},s={},i={ITERATIONS}", stored.salt);
                let spoken = format!("{},{reply}", first.bare);
                let gs2_header = first.gs2_header.to_owned();
                self.state = State::Asked { user: first.user, stored, gs2_header, nonce, spoken };
                Some((reply.into_bytes(), None))
            }
            State::Asked { user, stored, gs2_header, nonce, spoken } => {
                let (unproven, proof) = message.rsplit_once(",p=")?;
                let expected = format!("c={},r={nonce}", BASE64.encode(gs2_header));
                // Extensions may follow the nonce.
                let rest = unproven.strip_prefix(&expected)?;
                if !rest.is_empty() && !rest.starts_with(',') {
                    return None;
                }
                let covered = format!("{spoken},{unproven}");
                let signature = self.hash.mac(&stored.stored_key, covered.as_bytes());
                let proof = BASE64.decode(proof).ok().filter(|proof| proof.len() == signature.len())?;
                let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
                if !same(&self.hash.digest(&client_key), &stored.stored_key) {
                    return None;
                }
                let verifier = self.hash.mac(&stored.server_key, covered.as_bytes());
                Some((format!("v={}", BASE64.encode(verifier)).into_bytes(), Some(user)))
            }
            State::Over => None,
        }
    }
}

/// `n,,n=alice,r=nonce`, and what may be between and behind.
struct ClientFirst<'a> {
    gs2_header: &'a str,
    bare: &'a str,
    user: String,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn parse(message: &'a str) -> Option<Self> {
        let (binding, rest) = message.split_once(',')?;
        let (acting_for, bare) = rest.split_once(',')?;
        // `p=` would ask for channel binding; `y` is a client that thinks the server has none.
        if !matches!(binding, "n" | "y") {
            return None;
        }
        let mut parts = bare.split(',');
        let user = plain_name(parts.next()?.strip_prefix("n=")?)?;
        let nonce = parts.next()?.strip_prefix("r=").filter(|nonce| !nonce.is_empty())?;
        // A delegation token (KIP-48): there are none here.
        if parts.any(|extension| extension == "tokenauth=true") {
            return None;
        }
        let acting_for =
            acting_for.strip_prefix("a=").map_or_else(|| acting_for.is_empty().then(String::new), plain_name)?;
        let gs2_header = message.get(..message.len() - bare.len())?;
        (acting_for.is_empty() || acting_for == user).then_some(Self { gs2_header, bare, user, nonce })
    }
}

/// A name without the escapes for commas and equals signs.
fn plain_name(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        name.push(letter);
        name.push_str(rest);
    }
    Some(name)
}

/// Rounds of the derivation, Kafka's smallest and default number.
const ITERATIONS: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677: user `user`, password `pencil`, with the RFC's salt and nonces.
    #[test]
    fn the_exchange_of_the_rfc_is_understood() {
        let salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
        let salted = Hash::Sha256.salted(b"pencil", &BASE64.decode(salt).unwrap());
        let stored = Stored {
            salt: salt.to_owned(),
            stored_key: Hash::Sha256.digest(&Hash::Sha256.mac(&salted, b"Client Key")),
            server_key: Hash::Sha256.mac(&salted, b"Server Key"),
        };
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        let first = "n=user,r=rOprNGfwEbeRWgbNEkqO";
        let spoken = format!("{first},r={nonce},s={salt},i=4096");
        let asked = || State::Asked {
            user: "user".to_owned(),
            stored: stored.clone(),
            gs2_header: "n,,".to_owned(),
            nonce: nonce.clone(),
            spoken: spoken.clone(),
        };
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let mut good = Conversation { hash: Hash::Sha256, state: asked() };
        let (verifier, user) = good.step(last.as_bytes(), |_, _| unreachable!()).expect("believed");
        assert_eq!(verifier, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(user.as_deref(), Some("user"));
        assert!(good.step(last.as_bytes(), |_, _| unreachable!()).is_none(), "once only");
        for (from, to) in [("dHzb", "dHza"), ("biws", "biwt"), ("NlF$", "NlF%"), (",p=", ",q=")] {
            let mut bad = Conversation { hash: Hash::Sha256, state: asked() };
            assert!(bad.step(last.replace(from, to).as_bytes(), |_, _| unreachable!()).is_none(), "{from} as {to}");
        }
    }

    #[test]
    fn first_messages_are_read_as_the_rfc_writes_them() {
        let cases = [
            ("n,,n=alice,r=x", Some("alice")),
            ("y,,n=alice,r=x", Some("alice")),
            ("n,a=alice,n=alice,r=x", Some("alice")),
            ("n,,n=a=2Cb=3Dc,r=x,ext=1", Some("a,b=c")),
            ("n,a=bob,n=alice,r=x", None),
            ("n,alice,n=alice,r=x", None),
            ("p=tls-unique,,n=alice,r=x", None),
            ("n,,n=alice,r=", None),
            ("n,,n=a=2cb,r=x", None),
            ("n,,m=must,n=alice,r=x", None),
            ("n,,n=id,r=x,tokenauth=true", None),
            ("n,,n=alice", None),
            ("", None),
        ];
        for (message, expected) in cases {
            assert_eq!(ClientFirst::parse(message).map(|first| first.user).as_deref(), expected, "{message}");
        }
    }
}
