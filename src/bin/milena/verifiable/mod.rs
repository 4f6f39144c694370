//! `milena verifiable-producer`, `milena verifiable-consumer` and `milena transactional-copier`: the flags and the JSON
//! lines of Kafka's VerifiableProducer, VerifiableConsumer and TransactionalMessageCopier, so that a harness made for
//! those can drive milena.
//!
//! Rules this folder keeps:
//! - an event is one line, written whole, in the order in which it became known, and at once when nothing else waits;
//! - SIGINT and SIGTERM end the work, not the accounting: what was sent is settled first, then come the last lines;
//! - a reader of stdout that went away ends the command quietly.

use std::{
    io::{BufWriter, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::failure::Failure;

mod consumer;
mod copier;
mod producer;
mod transactions;

pub(crate) use consumer::VerifiableConsumer;
pub(crate) use copier::TransactionalCopier;
pub(crate) use producer::VerifiableProducer;

/// Writes events as they come.
struct Events {
    lines: mpsc::Sender<Value>,
    writing: JoinHandle<Result<(), Failure>>,
}

impl Events {
    fn start() -> Self {
        let (lines, waiting) = mpsc::channel(MAX_UNWRITTEN);
        Self { lines, writing: tokio::task::spawn_blocking(move || write(waiting)) }
    }

    /// Writes one event; waits while the reader of stdout is slow.
    async fn emit(&self, name: &str, more: Value) -> Result<(), Failure> {
        self.line(event(name, more)).await
    }

    /// Writes one line as it is; waits while the reader of stdout is slow.
    async fn line(&self, line: Value) -> Result<(), Failure> {
        self.lines.send(line).await.map_err(|_| Failure::StdoutClosed)
    }

    /// Whether stdout was closed, so that nothing more can be written.
    fn has_no_reader(&self) -> bool {
        self.lines.is_closed()
    }

    /// Waits until everything is written.
    async fn finish(self) -> Result<(), Failure> {
        drop(self.lines);
        self.writing.await.map_err(|error| Failure::error(error.to_string()))?
    }
}

/// An event as Kafka's tools write it: the time and the name first.
fn event(name: &str, more: Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut event = json!({"timestamp": u64::try_from(now.as_millis()).unwrap_or(u64::MAX), "name": name});
    if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
        event.extend(more);
    }
    event
}

fn write(mut waiting: mpsc::Receiver<Value>) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    while let Some(line) = waiting.blocking_recv() {
        writeln!(out, "{line}").map_err(Failure::stdout)?;
        if waiting.is_empty() {
            out.flush().map_err(Failure::stdout)?;
        }
    }
    out.flush().map_err(Failure::stdout)
}

/// Events that wait to be written.
const MAX_UNWRITTEN: usize = 16 * 1024;
