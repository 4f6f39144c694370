//! One request to a registry that has several addresses: which is asked, when again, and what is said if none helps.
//!
//! Rules this file keeps:
//! - the address that answered last is asked first;
//! - an address that fails is left for the next one at once; waiting happens between passes over all of them;
//! - asked again is after a lost connection and after 408, 429, 500, 502, 503 and 504, nothing else;
//! - `Retry-After` is honoured; the deadline of the whole call is never passed by waiting;
//! - an error names every address and what it said, and holds no credentials.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::error::{Error, ErrorKind, Result};

use super::http::{Answer, Bounds, Call, Endpoint, Failure};

/// The addresses of one registry and how it is asked.
pub(super) struct Transport {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) settings: Settings,
    /// The place of the address that answered last.
    preferred: AtomicUsize,
}

/// Times and counts of [`Transport`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) bounds: Bounds,
    /// Bounds the call with all its passes.
    pub(super) deadline: Duration,
    /// How often all addresses are asked again.
    pub(super) retries: u32,
    pub(super) backoff: Duration,
    pub(super) backoff_max: Duration,
}

/// Why one address did not give what was asked for.
struct Refusal {
    url: String,
    kind: ErrorKind,
    text: String,
    retry_after: Option<Duration>,
}

impl Transport {
    pub(super) fn new(endpoints: Vec<Endpoint>, settings: Settings) -> Self {
        Self { endpoints, settings, preferred: AtomicUsize::new(0) }
    }

    /// Makes `call` and gives the body of an answer of success.
    ///
    /// # Errors
    /// `Registry` with the status and the registry's own text, `Connect` or `Timeout` naming every address.
    pub(super) async fn ask(&self, call: &Call) -> Result<Bytes> {
        let deadline = Instant::now() + self.settings.deadline;
        let mut pass = 0;
        loop {
            let refusals = match self.ask_each(call, deadline).await? {
                Ok(body) => return Ok(body),
                Err(refusals) => refusals,
            };
            let pause = self.pause(pass, &refusals);
            if pass >= self.settings.retries || pause >= deadline.saturating_duration_since(Instant::now()) {
                return Err(give_up(call, &refusals));
            }
            tracing::debug!(method = %call.method, path = call.path, pass, "the Schema Registry is asked again");
            sleep(pause).await;
            pass += 1;
        }
    }

    /// One pass over all addresses. The outer error is final, the inner may pass.
    async fn ask_each(&self, call: &Call, deadline: Instant) -> Result<Result<Bytes, Vec<Refusal>>> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut refusals = Vec::new();
        for step in 0..self.endpoints.len() {
            let index = (first + step) % self.endpoints.len();
            let Some(endpoint) = self.endpoints.get(index) else { break };
            let left = deadline.saturating_duration_since(Instant::now());
            let Bounds { connect, request } = self.settings.bounds;
            let bounds = Bounds { connect: connect.min(left), request: request.min(left) };
            match judge(endpoint, endpoint.ask(call, bounds).await) {
                Ok(body) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(Ok(body));
                }
                Err((refusal, true)) => refusals.push(refusal),
                Err((refusal, false)) => return Err(error(call, &refusal)),
            }
        }
        Ok(Err(refusals))
    }

    /// Full jitter: clients that failed together do not come back together.
    fn pause(&self, pass: u32, refusals: &[Refusal]) -> Duration {
        let ceiling = self.settings.backoff.saturating_mul(1 << pass.min(16)).min(self.settings.backoff_max);
        let jittered = ceiling.mul_f64(fastrand::f64());
        let asked_for = refusals.iter().filter_map(|refusal| refusal.retry_after).min().unwrap_or_default();
        jittered.max(asked_for)
    }
}

fn error(call: &Call, refusal: &Refusal) -> Error {
    Error::new(refusal.kind, format!("{} {}{}: {}", call.method, refusal.url, call.path, refusal.text))
}

fn give_up(call: &Call, refusals: &[Refusal]) -> Error {
    // A status says more than a refused connection of another address.
    let kinds = refusals.iter().map(|refusal| refusal.kind);
    let kind = kinds.max_by_key(|kind| matches!(kind, ErrorKind::Registry(_))).unwrap_or(ErrorKind::Timeout);
    let said = refusals.iter().map(|refusal| format!("{}: {}", refusal.url, refusal.text));
    let said = said.collect::<Vec<_>>().join("; ");
    Error::new(kind, format!("the Schema Registry could not be asked ({} {}): {said}", call.method, call.path))
}

/// Splits what came into the body of a success and a refusal, with whether asking again may help.
fn judge(endpoint: &Endpoint, outcome: Result<Answer, Failure>) -> Result<Bytes, (Refusal, bool)> {
    let url = endpoint.url.to_string();
    let answer = match outcome {
        Ok(answer) if answer.status.is_success() => return Ok(answer.body),
        Ok(answer) => answer,
        Err(failure) => {
            let (kind, again) = match &failure {
                Failure::Connect(_) => (ErrorKind::Connect, true),
                Failure::Tls(_) => (ErrorKind::Tls, false),
                Failure::Broken(_) => (ErrorKind::Disconnected, true),
                Failure::Timeout(_) => (ErrorKind::Timeout, true),
                Failure::TooLarge => (ErrorKind::Protocol, false),
            };
            return Err((Refusal { url, kind, text: failure.to_string(), retry_after: None }, again));
        }
    };
    let status = answer.status.as_u16();
    let kind =
        if answer.status == StatusCode::UNAUTHORIZED { ErrorKind::Authentication } else { ErrorKind::Registry(status) };
    let again = matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
    let text = describe(answer.status, &answer.body);
    Err((Refusal { url, kind, text, retry_after: answer.retry_after }, again))
}

/// The registry's own words if there are any; some send plain text, HTML or nothing.
fn describe(status: StatusCode, body: &[u8]) -> String {
    if let Ok(said) = serde_json::from_slice::<Said>(body)
        && let Some(message) = said.message
    {
        return match said.error_code {
            Some(code) if code > 0 && code != i64::from(status.as_u16()) => format!("{status}, code {code}: {message}"),
            _ => format!("{status}: {message}"),
        };
    }
    let text = excerpt(body);
    if text.is_empty() { format!("{status}, with an empty body") } else { format!("{status}: {text}") }
}

/// The first characters of a body that is not understood, on one line.
pub(super) fn excerpt(body: &[u8]) -> String {
    let head = body.get(..body.len().min(4 * EXCERPT)).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(EXCERPT).collect()
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    error_code: Option<i64>,
    #[serde(default)]
    message: Option<String>,
}

impl Call {
    pub(super) fn get(path: String) -> Self {
        Self { method: Method::GET, path, body: Bytes::new() }
    }

    pub(super) fn delete(path: String) -> Self {
        Self { method: Method::DELETE, path, body: Bytes::new() }
    }

    pub(super) fn send(method: Method, path: String, body: &impl serde::Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::new(ErrorKind::Serialization, "the request could not be written as JSON").with_source(error)
        })?;
        Ok(Self { method, path, body: body.into() })
    }
}

const EXCERPT: usize = 300;
