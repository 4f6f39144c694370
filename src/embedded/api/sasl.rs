//! SaslHandshake and SaslAuthenticate, and tokens without a request around them.

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse},
    protocol::StrBytes,
};
use tokio::time::Instant;

use super::{Call, Outcome, Serve, Then};
use crate::embedded::{
    Shared,
    reply::{Body, Unanswered},
    sasl::{Answer, Refusal},
    session::Session,
};

impl Serve for SaslHandshakeRequest {
    const REFUSED_BY_TABLE: bool = true;

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let sasl = &call.shared.settings.sasl;
        let chosen = call.session.stage().choose(sasl, &self.mechanism, call.version, Instant::now());
        let mut response = SaslHandshakeResponse::default();
        if chosen != Err(ResponseError::IllegalSaslState) {
            let names = sasl.mechanisms.iter().map(|mechanism| StrBytes::from_static_str(mechanism.name()));
            response.mechanisms = names.collect();
        }
        if let Err(error) = chosen {
            response.error_code = error.code();
            if error != ResponseError::IllegalSaslState {
                call.hang_up();
            }
        }
        call.encode(&response)
    }
}

impl Serve for SaslAuthenticateRequest {
    const REFUSED_BY_TABLE: bool = true;

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let response = SaslAuthenticateResponse::default();
        let refused = |code: ResponseError, why: String| {
            let message = Some(StrBytes::from_string(why));
            SaslAuthenticateResponse::default().with_error_code(code.code()).with_error_message(message)
        };
        let shown = call.session.stage().prove(&call.shared.settings.sasl, &self.auth_bytes, Instant::now());
        let response = match shown {
            Ok(Answer { token, lifetime }) => {
                let millis = lifetime.map_or(0, |lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX));
                let response = response.with_auth_bytes(token.into());
                response.with_session_lifetime_ms(if call.version >= 1 { millis } else { 0 })
            }
            Err(Refusal::NotNow(why)) => refused(ResponseError::IllegalSaslState, why.to_owned()),
            Err(Refusal::Failed(why)) => {
                call.hang_up();
                refused(ResponseError::SaslAuthenticationFailed, why)
            }
            Err(Refusal::HangUp) => return Err(Unanswered::HangUp),
        };
        call.encode(&response)
    }
}

/// Answers a token that came without a request around it, after SaslHandshake version 0; a wrong one is not answered.
pub(super) fn token(shared: &Shared, session: &Session, token: &[u8]) -> Outcome {
    match session.stage().prove(&shared.settings.sasl, token, Instant::now()) {
        Ok(answer) => {
            let length = u32::try_from(answer.token.len()).unwrap_or_default().to_be_bytes();
            Outcome::Reply(vec![Bytes::from([&length[..], &answer.token].concat())], Then::Continue)
        }
        Err(_) => Outcome::Close,
    }
}
