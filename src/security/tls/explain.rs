//! What went wrong with TLS, as a sentence that names what to change.
//!
//! Rules this file keeps:
//! - the error of the library stays behind `source()`; the sentence does not repeat it;
//! - a refused client certificate is known only after the handshake (TLS 1.3 sends the alert with the first read), so
//!   every read error of a new connection comes through here.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::{Error, error::ErrorKind};

/// The sentence for an error that TLS raised while talking to `address`; `None` if TLS has nothing to do with it.
pub(crate) fn explain(error: &io::Error, address: &str) -> Option<Error> {
    let cause = error.get_ref()?.downcast_ref::<TlsError>()?;
    let sentence = match cause {
        TlsError::InvalidCertificate(why) => certificate(why, address),
        TlsError::AlertReceived(alert) => alert_received(*alert, address),
        TlsError::InvalidMessage(_) | TlsError::InappropriateMessage { .. } => {
            format!("{address} did not answer in TLS: it may be a listener without TLS (PLAINTEXT or SASL_PLAINTEXT)")
        }
        TlsError::PeerIncompatible(_) => format!("{address} and this client have no common TLS version or cipher"),
        _ => format!("the TLS handshake with {address} failed: {cause}"),
    };
    Some(Error::new(ErrorKind::Tls, sentence).with_source(cause.clone()))
}

fn certificate(why: &CertificateError, address: &str) -> String {
    let trust = "give its authority with `ssl.truststore.location` or `ssl.truststore.certificates`";
    match why {
        CertificateError::UnknownIssuer => {
            format!("the certificate of {address} is signed by an authority that this client does not trust: {trust}")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!("the certificate of {address} is not for `{expected}`: it was made for {names}")
        }
        CertificateError::NotValidForName => format!("the certificate of {address} was made for another host"),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {address} has expired (or this machine's clock is wrong)")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {address} is not valid yet (or this machine's clock is wrong)")
        }
        other => format!("the certificate of {address} is not acceptable: {other}"),
    }
}

fn alert_received(alert: AlertDescription, address: &str) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            format!("{address} asks for a client certificate: give one with `ssl.keystore.location`")
        }
        AlertDescription::CertificateExpired => format!("{address} refused the client certificate: it has expired"),
        // Java says 42 (bad certificate) for a missing one, and 46 (unknown) for a foreign and for an expired one.
        AlertDescription::BadCertificate | AlertDescription::UnknownCA | AlertDescription::CertificateUnknown => {
            format!(
                "{address} refused the client certificate (unknown authority, or expired), or asks for one and got none (alert {alert:?})"
            )
        }
        other => format!("{address} ended the TLS handshake with the alert {other:?}"),
    }
}
