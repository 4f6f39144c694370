//! TLS in front of a broker, and whom a client's certificate was made for.
//!
//! Rules this file keeps:
//! - the cryptography is that of the client's TLS: the process's provider, else the one without C;
//! - a certificate is looked into only after it was verified, and one that cannot be read names nobody;
//! - private keys appear in no `Debug` and no error.

use std::{fmt, io, sync::Arc};

use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

use super::server::BoxedStream;
use crate::{
    Error, ErrorKind, Result,
    security::{certificates, private_key, provider},
};

/// What a builder sets.
#[derive(Clone)]
pub(super) struct TlsSettings {
    pub(super) key: String,
    pub(super) chain: String,
    /// Who signs the certificates that clients must have.
    pub(super) client_ca: Option<String>,
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsSettings(chain of {} bytes, asks clients: {})", self.chain.len(), self.client_ca.is_some())
    }
}

/// A listener's half of TLS.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    pub(super) fn new(settings: &TlsSettings) -> Result<Self> {
        let bad = |what: &str, error: rustls::Error| Error::new(ErrorKind::Config, what).with_source(error);
        let provider = provider(None)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| bad("the TLS provider knows none of the usual versions", error))?;
        let builder = match &settings.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem.as_bytes(), "the clients' authority")? {
                    roots.add(certificate).map_err(|error| bad("a certificate of the clients' authority", error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let verifier = verifier.map_err(|error| {
                    Error::new(ErrorKind::Config, "the clients' authority cannot be used").with_source(error)
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = certificates(settings.chain.as_bytes(), "the brokers' certificate")?;
        let key = private_key(settings.key.as_bytes(), "the brokers' key")?;
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| bad("the brokers' certificate and its private key do not work together", error))?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Speaks TLS over a stream; also gives the name in the client's certificate, if it has one.
    pub(super) async fn accept(&self, stream: BoxedStream) -> io::Result<(BoxedStream, Option<String>)> {
        let stream = self.acceptor.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let name = certificate.and_then(|certificate| subject(certificate));
        Ok((Box::new(stream), name))
    }
}

/// The distinguished name that a certificate was made for, as Java writes it: `CN=alice,O=example`, the last part of
/// it first (RFC 2253).
fn subject(certificate: &[u8]) -> Option<String> {
    let mut rest = certificate;
    let mut certificate = take(&mut rest, SEQUENCE)?;
    let mut fields = take(&mut certificate, SEQUENCE)?;
    if fields.first() == Some(&EXPLICIT_0) {
        take(&mut fields, EXPLICIT_0)?;
    }
    // Serial number, algorithm, issuer, validity.
    take(&mut fields, INTEGER)?;
    (0..3).try_for_each(|_| take(&mut fields, SEQUENCE).map(drop))?;
    let mut name = take(&mut fields, SEQUENCE)?;
    let mut parts = Vec::new();
    while !name.is_empty() {
        let mut set = take(&mut name, SET)?;
        let mut attribute = take(&mut set, SEQUENCE)?;
        let kind = take(&mut attribute, OBJECT_ID)?;
        let (_, text) = any(&mut attribute)?;
        let (_, label) = LABELS.iter().find(|(id, _)| *id == kind)?;
        parts.push(format!("{label}={}", escaped(std::str::from_utf8(text).ok()?)));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// Takes a value of this type off the front of DER.
fn take<'a>(der: &mut &'a [u8], kind: u8) -> Option<&'a [u8]> {
    any(der).filter(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Takes a value of any type off the front: its type and its bytes.
fn any<'a>(der: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let [kind, first, rest @ ..] = *der else { return None };
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        // Longer than four bytes is longer than any certificate.
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some((*kind, value))
}

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const EXPLICIT_0: u8 = 0xa0;

/// The parts of names that certificates for clients have: their ids and how they are written.
const LABELS: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_its_subject_and_damage_names_nobody() {
        let pem = include_bytes!("../security/testdata/client.pem");
        let der = certificates(pem, "test").unwrap().remove(0);
        let name = subject(&der).expect("a name");
        assert!(name.starts_with("CN="), "{name}");
        for cut in 0..der.len() / 2 {
            let found = subject(&der[..cut]);
            assert!(found.is_none(), "{found:?} in {cut} bytes");
            let mut damaged = der.to_vec();
            damaged[cut] ^= 0xff;
            let _ = subject(&damaged);
        }
        assert_eq!(escaped("a,b\\c"), "a\\,b\\\\c");
    }
}
