//! One connection, as those who ask see it: requests are handed to its task (`driver`), which hands back replies.
//!
//! Rules this file keeps:
//! - requests are written and answered in the order in which they were asked for;
//! - a caller that goes away loses its answer and nothing else: the request is written, the reply is consumed, and the
//!   silence that the reply asks for is kept (KIP-219).

mod driver;

use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};

use self::driver::Driver;
use crate::{
    error::{Error, ErrorKind},
    machine::conn::Certainty,
    wire::{self, Frame, Request, Versions},
};

use super::buffers::Buffers;

/// A handle to an open connection. Cheap to clone; the connection closes when the last handle is dropped and the last
/// reply has come.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    commands: mpsc::UnboundedSender<Command>,
    ids: AtomicI32,
    peer: Peer,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: Arc<str>,
    pub(crate) versions: Arc<Versions>,
    pub(crate) client_id: Arc<str>,
    /// Whether the handshake showed credentials: a broker that hangs up on a client without may want some.
    pub(crate) is_authenticated: bool,
}

/// Why a request has no answer, and whether the broker may have acted on it.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) certainty: Certainty,
    pub(crate) error: Error,
}

enum Command {
    Ask { correlation_id: i32, frame: Frame, timeout: Duration, waiter: Waiter },
    Tell { frame: Frame, timeout: Duration, written: oneshot::Sender<Answer> },
    Throttle(Duration),
}

type Answer = Result<Bytes, Lost>;

/// Who wants a reply, and what to read from it when that one is gone.
struct Waiter {
    reply: oneshot::Sender<Answer>,
    version: i16,
    throttle: fn(Bytes, i16) -> Duration,
}

impl Connection {
    /// Starts the task of a connection whose handshake is done.
    pub(crate) fn open<S>(stream: S, peer: Peer, buffers: Buffers, max_frame: usize) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (commands, inbox) = mpsc::unbounded_channel();
        tokio::spawn(Driver::new(stream, inbox, &peer, buffers, max_frame));
        // The handshake used the first numbers; where counting starts does not matter.
        Self(Arc::new(Shared { commands, ids: AtomicI32::new(1000), peer }))
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.0.peer
    }

    pub(crate) fn versions(&self) -> &Versions {
        &self.0.peer.versions
    }

    /// Whether it is the same connection, not only one to the same address.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.commands.is_closed()
    }

    /// Sends a request now; requests of one connection are written and answered in the order of these calls.
    pub(crate) fn start<R: Request>(&self, request: &R, timeout: Duration) -> Result<Pending<R>, Error> {
        let version = self.versions().pick::<R>()?;
        self.start_at(request, version, timeout)
    }

    /// The same at a version that the caller chose.
    pub(crate) fn start_at<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<Pending<R>, Error> {
        let correlation_id = self.0.ids.fetch_add(1, Ordering::Relaxed);
        let frame = wire::encode_request(request, version, correlation_id, Some(&self.0.peer.client_id))?;
        let (sender, reply) = oneshot::channel();
        let waiter = Waiter { reply: sender, version, throttle: throttle_in::<R> };
        // A closed connection drops the command, and with it the waiter: `Pending` then says `NotSent`.
        let _ = self.0.commands.send(Command::Ask { correlation_id, frame, timeout, waiter });
        Ok(Pending { connection: self.clone(), reply, version, request: PhantomData })
    }

    /// Sends a request that the broker does not answer (Produce with acks=0). Resolves once it is written.
    pub(crate) fn tell_at<R: Request>(&self, request: &R, version: i16, timeout: Duration) -> Result<Told, Error> {
        let correlation_id = self.0.ids.fetch_add(1, Ordering::Relaxed);
        let frame = wire::encode_request(request, version, correlation_id, Some(&self.0.peer.client_id))?;
        let (written, reply) = oneshot::channel();
        let _ = self.0.commands.send(Command::Tell { frame, timeout, written });
        Ok(Told { address: self.0.peer.address.clone(), reply })
    }

    /// Keeps silent for a while, because a reply asked for it (KIP-219).
    pub(crate) fn throttle(&self, time: Duration) {
        let _ = self.0.commands.send(Command::Throttle(time));
    }
}

/// A request on its way. Dropping it forgets the answer; the request itself is not taken back.
#[derive(Debug)]
pub(crate) struct Pending<R: Request> {
    connection: Connection,
    reply: oneshot::Receiver<Answer>,
    version: i16,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Future for Pending<R> {
    type Output = Result<R::Response, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(Pin::new(&mut self.reply).poll(cx));
        let address = &self.connection.0.peer.address;
        let frame = reply.unwrap_or_else(|_| Err(Lost::closed(address)))?;
        let response = wire::decode_response::<R>(frame, self.version).map_err(|error| {
            let message = format!("{address} sent a reply to {} that cannot be read", R::NAME);
            // The broker answered, so it has acted on the request.
            let error = Error::new(ErrorKind::Protocol, message).with_source(error);
            Lost { certainty: Certainty::MaybeSent, error }
        })?;
        let throttle = R::throttle_time(&response);
        if !throttle.is_zero() {
            self.connection.throttle(throttle);
        }
        Poll::Ready(Ok(response))
    }
}

impl<R: Request> Drop for Pending<R> {
    fn drop(&mut self) {
        // From here on the connection's task finds nobody and looks itself; what it sent before lies here.
        self.reply.close();
        if let Ok(Ok(frame)) = self.reply.try_recv() {
            let throttle = throttle_in::<R>(frame, self.version);
            if !throttle.is_zero() {
                self.connection.throttle(throttle);
            }
        }
    }
}

/// How long a reply that nobody reads asks to hold back; one that cannot be read asks nothing.
fn throttle_in<R: Request>(frame: Bytes, version: i16) -> Duration {
    wire::decode_response::<R>(frame, version).map_or(Duration::ZERO, |response| R::throttle_time(&response))
}

/// A request without an answer on its way.
#[derive(Debug)]
pub(crate) struct Told {
    address: Arc<str>,
    reply: oneshot::Receiver<Answer>,
}

impl Future for Told {
    type Output = Result<(), Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(Pin::new(&mut self.reply).poll(cx));
        Poll::Ready(reply.unwrap_or_else(|_| Err(Lost::closed(&self.address))).map(drop))
    }
}

impl Lost {
    /// The connection was gone before the request reached its task.
    fn closed(address: &str) -> Self {
        let error = Error::new(ErrorKind::Disconnected, format!("the connection to {address} is closed"));
        Self { certainty: Certainty::NotSent, error }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::time::Instant;

    use super::*;
    use crate::wire::messages::ProduceRequest;

    const SECOND: Duration = Duration::from_secs(1);

    fn open(stream: tokio::io::DuplexStream) -> Connection {
        let (address, client_id) = ("peer:9092".into(), "test".into());
        let peer = Peer { address, versions: Arc::default(), client_id, is_authenticated: false };
        Connection::open(stream, peer, Buffers::new(), 1000)
    }

    /// With acks=0 there is no reply whose absence could be noticed.
    #[tokio::test(start_paused = true)]
    async fn n4_a_request_without_an_answer_does_not_wait_for_ever_to_be_written() {
        let (near, _far) = tokio::io::duplex(8);
        let connection = open(near);
        let told = connection.tell_at(&ProduceRequest::default(), 9, SECOND).expect("it can be written");
        let lost = tokio::time::timeout(60 * SECOND, told).await.expect("within its time").expect_err("nobody reads");
        assert_eq!((lost.certainty, lost.error.kind()), (Certainty::MaybeSent, ErrorKind::Timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_connection_that_nobody_holds_closes_when_the_throttle_is_over() {
        use tokio::io::AsyncReadExt;
        let (near, mut far) = tokio::io::duplex(100);
        let connection = open(near);
        connection.throttle(SECOND);
        tokio::task::yield_now().await;
        drop(connection);
        let closed = tokio::time::timeout(2 * SECOND, far.read_u8()).await.expect("it closes by itself");
        assert_eq!(closed.expect_err("nothing was written").kind(), io::ErrorKind::UnexpectedEof);
    }

    /// A piece that waits in a socket's queue and a piece that is sent again are the same bytes, and nobody writes to
    /// them (P10): the first reader gets what was queued first, whatever happens to the other handles.
    #[tokio::test]
    async fn p10_the_bytes_of_a_request_are_its_own_until_they_are_written() {
        use tokio::io::AsyncReadExt;
        let pool = crate::record::ChunkPool::default();
        let sealed = |value: &[u8]| {
            let mut batch = crate::record::BatchBuilder::new(&pool);
            batch.append(1, None, Some(value), &[]).expect("it fits");
            batch.seal()
        };
        let (near, mut far) = tokio::io::duplex(16);
        let connection = open(near);
        let mut told = Vec::new();
        for round in 0..20 {
            let batch = sealed(&[b'a' + round; 500]);
            let records = crate::wire::Records::from_pieces(batch.pieces(batch.stamp(1, 0, 0)));
            told.push(connection.tell_at(&produce(records), 9, 60 * SECOND).expect("it can be written"));
            // The producer lets go of the batch while the socket has read nothing of it, and takes the next chunk.
            drop(batch);
        }
        for round in 0..20 {
            let mut frame = vec![0; far.read_u32().await.expect("a length") as usize];
            far.read_exact(&mut frame).await.expect("a request");
            let own = frame.iter().filter(|byte| **byte == b'a' + round).count();
            assert!(own >= 500, "request {round} carries other bytes than it was made of");
        }
    }

    /// Whether the reply comes before the caller goes away or after, whoever asks next waits until the silence is over.
    #[tokio::test(start_paused = true)]
    async fn kip_219_a_caller_that_goes_away_takes_no_silence_with_it() {
        use crate::wire::messages::{ListGroupsRequest, ListGroupsResponse};
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for reply_comes_first in [true, false] {
            let (near, mut far) = tokio::io::duplex(1000);
            let connection = open(near);
            let ask = || connection.start_at(&ListGroupsRequest::default(), 1, 60 * SECOND).expect("it can be written");
            let pending = ask();
            let mut frame = vec![0; far.read_u32().await.expect("a length") as usize];
            far.read_exact(&mut frame).await.expect("a request");
            let response = ListGroupsResponse { throttle_time_ms: 5_000, ..ListGroupsResponse::default() };
            let body = wire::encode_body(&response, 1).expect("it can be said");
            let mut pending = Some(pending).filter(|_| reply_comes_first);
            far.write_u32(4 + body.len() as u32).await.expect("written");
            far.write_all(&frame[4..8]).await.expect("written");
            far.write_all(&body).await.expect("written");
            // The connection's task has its turn.
            tokio::time::sleep(SECOND / 10).await;
            let answered = Instant::now();
            drop(pending.take());
            let _next = ask();
            far.read_u32().await.expect("a length");
            let silent = answered.elapsed();
            assert!((4 * SECOND..6 * SECOND).contains(&silent), "{silent:?}, the reply first: {reply_comes_first}");
        }
    }

    fn produce(records: crate::wire::Records) -> ProduceRequest {
        use crate::wire::messages::{PartitionProduceData, TopicProduceData};
        let part = PartitionProduceData { index: 0, records: Some(records) };
        let topic = TopicProduceData { name: "t".into(), partition_data: vec![part], ..Default::default() };
        ProduceRequest { topic_data: vec![topic], ..Default::default() }
    }
}
