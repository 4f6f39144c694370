//! One connection to a broker, and the requests of this producer that are under way on it.
//!
//! Rules this file keeps:
//! - requests count on the connection that carries them, as `max.in.flight.requests.per.connection` says: what one that
//!   is gone may still owe holds up nothing on the next;
//! - answers are awaited in the order of the requests, by one task (P2).

use std::sync::Arc;

use tokio::{sync::mpsc, time::Instant};
use tracing::Span;

use crate::{
    error::Result,
    machine::{
        queue::BatchId,
        window::{Answered, Window},
    },
    net::conn::{Connection, Lost, Pending, Told},
    types::BrokerId,
    wire::messages::{ProduceRequest, ProduceResponse},
};

use super::{metrics::Counters, sender::Event};

/// A connection, and what is under way on it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) connection: Connection,
    /// Which of its broker's lines it is.
    number: u64,
    in_flight: usize,
    window: Window,
    flights: mpsc::UnboundedSender<Flight>,
}

/// A request whose answer is awaited.
#[derive(Debug)]
struct Flight {
    batches: Vec<(usize, BatchId)>,
    reply: Reply,
    answered: Answered,
    span: Span,
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Reply {
    Answer(Pending<ProduceRequest>),
    /// The broker says nothing (acks=0): it is enough that the request is written.
    Written(Told),
}

/// The broker's answer, or that there is none because none was asked for (acks=0).
#[derive(Debug)]
pub(super) enum Answer {
    Produced(ProduceResponse),
    Written,
}

/// A request that is on the wire no more.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) broker: BrokerId,
    pub(super) batches: Vec<(usize, BatchId)>,
    pub(super) outcome: Result<Answer, Lost>,
    /// The machine, which may not be the one that has the broker's number by now (N11).
    pub(super) address: Arc<str>,
    line: u64,
    answered: Answered,
}

impl Line {
    /// A line whose connection is open. It allows `most` requests at once.
    pub(super) fn new(
        (broker, number): (BrokerId, u64),
        connection: Connection,
        most: usize,
        outbox: mpsc::UnboundedSender<Event>,
        metrics: Arc<Counters>,
    ) -> Self {
        let (flights, inbox) = mpsc::unbounded_channel();
        let address = connection.peer().address.clone();
        tokio::spawn(await_answers((broker, address, number), inbox, outbox, metrics));
        Self { connection, number, in_flight: 0, window: Window::new(most), flights }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a request for open batches alone is worth sending.
    pub(super) fn opens(&self) -> bool {
        self.window.admits(self.in_flight)
    }

    /// A request has gone out with these batches.
    pub(super) fn launch(&mut self, batches: Vec<(usize, BatchId)>, reply: Reply, span: Span) {
        self.in_flight += 1;
        let answered = Answered { sent: Instant::now().into_std(), under_way: self.in_flight };
        // The waiting task lives as long as this line.
        let _ = self.flights.send(Flight { batches, reply, answered, span });
    }

    /// A request has landed; another line's is none of this one's.
    pub(super) fn handle_landed(&mut self, landed: &Landed) {
        if landed.line != self.number {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if landed.outcome.is_ok() {
            self.window.handle_answered(Instant::now().into_std(), landed.answered);
        }
    }
}

async fn await_answers(
    (broker, address, line): (BrokerId, Arc<str>, u64),
    mut flights: mpsc::UnboundedReceiver<Flight>,
    outbox: mpsc::UnboundedSender<Event>,
    metrics: Arc<Counters>,
) {
    while let Some(Flight { batches, reply, answered, span }) = flights.recv().await {
        let outcome = match reply {
            Reply::Answer(pending) => pending.await.map(Answer::Produced),
            Reply::Written(told) => told.await.map(|()| Answer::Written),
        };
        metrics.count_landed(
            matches!(outcome, Ok(Answer::Produced(_))).then(|| Instant::from_std(answered.sent).elapsed()),
        );
        if let Err(lost) = &outcome {
            span.record("error", tracing::field::display(&lost.error));
        }
        drop(span);
        let landed = Landed { broker, batches, outcome, address: address.clone(), line, answered };
        if outbox.send(Event::Landed(landed)).is_err() {
            return;
        }
    }
}
