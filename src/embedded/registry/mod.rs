//! A Schema Registry over HTTP, with subjects, ids and versions in memory.
//!
//! It answers as Confluent's does in what clients rely on: paths, field names, error codes and their texts.
//!
//! Rules this file keeps:
//! - a path is split first and each part percent-decoded afterwards, so that a subject may hold a slash;
//! - every error has a body `{"error_code": …, "message": …}`, whose code begins with the HTTP status;
//! - a body above [`MAX_BODY`] is refused before it is read to its end.
//!
//! Not served: deletes, modes, contexts, guids, metadata and rule sets.

mod schema;
mod store;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use self::store::{Refusal, Store, Submitted, Version};
use crate::{Error, ErrorKind, Result};

/// A listening registry. Dropping it stops it without waiting.
#[derive(Debug)]
pub(super) struct RegistryServer {
    address: SocketAddr,
    path: String,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl RegistryServer {
    /// Serves `listener`; all paths begin with `path`.
    pub(super) fn start(listener: TcpListener, path: &str) -> Result<Self> {
        let address = listener.local_addr().map_err(|error| {
            Error::new(ErrorKind::Io, "the registry's address cannot be found out").with_source(error)
        })?;
        let trimmed = path.trim_matches('/');
        let path = if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") };
        let (stop, stopped) = watch::channel(());
        let service = Arc::new(Service { path: path.clone(), store: Mutex::default() });
        Ok(Self { address, path, stop, task: tokio::spawn(accept(listener, service, stopped)) })
    }

    /// The base URL, without a slash at its end.
    pub(super) fn url(&self) -> String {
        let address = if self.address.ip().is_unspecified() {
            format!("localhost:{}", self.address.port())
        } else {
            self.address.to_string()
        };
        format!("http://{address}{}", self.path)
    }

    pub(super) async fn stop(self) {
        drop(self.stop);
        // The task ends by itself; it fails only if the runtime ends first.
        let _ = self.task.await;
    }
}

async fn accept(listener: TcpListener, service: Arc<Service>, mut stopped: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Ending comes before all, and connections that ended are counted out before new ones are let in.
            biased;
            _ = stopped.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(serve(stream, service.clone()));
                }
                Ok(_) => tracing::warn!("a registry connection above the limit was refused"),
                Err(error) => {
                    tracing::warn!(%error, "accepting a registry connection failed");
                    tokio::task::yield_now().await;
                }
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, service: Arc<Service>) {
    // Without it the answers still come, only later.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(|request| {
        let service = service.clone();
        async move { service.answer(request).await }
    });
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a registry connection ended");
    }
}

/// The store behind HTTP.
#[derive(Debug)]
struct Service {
    path: String,
    store: Mutex<Store>,
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
        let (head, body) = request.into_parts();
        let result = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => self.route(&head.method, head.uri.path(), &body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Refusal::new(413, "the body is too large")),
            Err(_) => Err(Refusal::new(400, "the body did not arrive")),
        };
        let (status, value) = match result {
            Ok(value) => (StatusCode::OK, value),
            Err(refusal) => (
                StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                json!({"error_code": refusal.code, "message": refusal.message}),
            ),
        };
        Response::builder()
            .status(status)
            .header(CONTENT_TYPE, "application/vnd.schemaregistry.v1+json")
            .body(Full::new(value.to_string().into()))
    }

    fn route(&self, method: &Method, path: &str, body: &[u8]) -> Answer {
        let parts = path.strip_prefix(&self.path).and_then(split).ok_or_else(not_found)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let (get, post, put) = (method == Method::GET, method == Method::POST, method == Method::PUT);
        match parts.as_slice() {
            [] if get => Ok(json!({})),
            ["subjects"] if get => Ok(json!(store.subjects())),
            ["subjects", subject] if post => store.look_up(subject, submitted(body)?).map(described),
            ["subjects", subject, "versions"] if post => store.register(subject, submitted(body)?).map(registered),
            ["subjects", subject, "versions"] if get => store.versions(subject).map(|versions| json!(versions)),
            ["subjects", subject, "versions", version] if get => store.version(subject, version).map(described),
            ["subjects", subject, "versions", version, "schema"] if get => {
                store.version(subject, version).map(|found| bare(&found.text))
            }
            ["schemas", "types"] if get => Ok(json!(["JSON", "PROTOBUF", "AVRO"])),
            ["schemas", "ids", id] if get => store.by_id(id).map(described_by_id),
            ["schemas", "ids", id, "schema"] if get => store.by_id(id).map(|found| bare(&found.text)),
            ["schemas", "ids", id, "versions"] if get => store.uses(id).map(|uses| {
                uses.iter().map(|(subject, version)| json!({"subject": subject, "version": version})).collect()
            }),
            ["config"] if get => Ok(json!({"compatibilityLevel": store.level(None)?})),
            ["config", subject] if get => Ok(json!({"compatibilityLevel": store.level(Some(subject))?})),
            ["config"] if put => store.configure(None, &parsed(body)?).map(|level| json!({"compatibility": level})),
            ["config", subject] if put => {
                store.configure(Some(subject), &parsed(body)?).map(|level| json!({"compatibility": level}))
            }
            ["compatibility", "subjects", subject, "versions", version] if post => {
                let conflicts = store.conflicts(subject, version, submitted(body)?)?;
                Ok(json!({"is_compatible": conflicts.is_empty(), "messages": conflicts}))
            }
            ["compatibility", "subjects", subject, "versions"] if post => {
                let conflicts = store.conflicts_by_level(subject, submitted(body)?)?;
                Ok(json!({"is_compatible": conflicts.is_empty(), "messages": conflicts}))
            }
            ["mode"] if get => Ok(json!({"mode": "READWRITE"})),
            ["subjects" | "config" | "schemas" | "compatibility" | "mode", ..] if !(get || post || put) => {
                Err(Refusal::new(405, "HTTP 405 Method Not Allowed"))
            }
            _ => Err(not_found()),
        }
    }
}

type Answer = Result<Value, Refusal>;

fn not_found() -> Refusal {
    Refusal::new(404, "HTTP 404 Not Found")
}

/// The decoded parts of a path; `None` if one is not text.
fn split(path: &str) -> Option<Vec<String>> {
    path.split('/').filter(|part| !part.is_empty()).map(percent_decoded).collect()
}

fn percent_decoded(part: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        decoded.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(decoded).ok()
}

fn parsed(body: &[u8]) -> Answer {
    serde_json::from_slice(body).map_err(|error| Refusal::new(400, format!("the body is not JSON: {error}")))
}

fn submitted(body: &[u8]) -> Result<Submitted, Refusal> {
    if body.is_empty() {
        return Err(Refusal::new(422, "the body must not be empty"));
    }
    let value = parsed(body)?;
    serde_json::from_value(value).map_err(|error| Refusal::new(422, format!("not a schema request: {error}")))
}

fn registered(version: Version) -> Value {
    let mut value = described_by_id(version.clone());
    value["id"] = json!(version.id);
    value["version"] = json!(version.version);
    value
}

fn described(version: Version) -> Value {
    let mut value = registered(version.clone());
    value["subject"] = json!(version.subject);
    value
}

/// What every answer about a schema has.
fn described_by_id(version: Version) -> Value {
    let mut value = json!({"schema": &*version.text, "schemaType": version.schema_type});
    if !version.references.is_empty() {
        value["references"] = json!(version.references);
    }
    value
}

/// A schema as the answer itself: JSON as it is, other texts as a string.
fn bare(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

const MAX_BODY: usize = 4 << 20;
const MAX_CONNECTIONS: usize = 200;
