//! A broker's listener: accepts connections and gives each a task of its own.
//!
//! Rules this file keeps:
//! - the requests of a connection are served one after the other and answered in order, as Kafka does;
//! - a frame's length is checked before memory is reserved, and at most [`EAGER`] is reserved before its bytes come;
//!   a connection holds one request at a time, so that all of them hold at most `max_connections` of `max_request_bytes`;
//! - a begun request comes whole within [`FRAME_TIME`], and a reply gets on within [`WRITE_STALL`], or the connection is
//!   closed: what it holds in memory is held for so long at most;
//! - who has not shown who it is gets [`MAX_UNPROVEN`] bytes for a request, and so much time for TLS and SASL together;
//! - stopping closes the listener first and then every connection, and returns when all of them are gone.

use std::{collections::VecDeque, io, io::IoSlice, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Shared,
    api::{self, Outcome, Then},
    listener::{Listener, Reserved},
    session::Session,
};
use crate::watch;

/// A listening broker. Dropping it stops it without waiting.
#[derive(Debug)]
pub(super) struct Server {
    /// Whether it stands still; dropped, it stops.
    paused: watch::Sender<bool>,
    cuts: mpsc::UnboundedSender<oneshot::Sender<()>>,
    task: JoinHandle<Option<Reserved>>,
}

impl Server {
    /// Serves the connections of `listener` as broker `id`.
    pub(super) fn start(shared: Arc<Shared>, id: i32, listener: Listener) -> Self {
        let (paused, state) = watch::channel(false);
        let (cuts, wanted) = mpsc::unbounded_channel();
        Self { paused, cuts, task: tokio::spawn(accept(shared, id, listener, state, wanted)) }
    }

    /// Stands still, or goes on: nothing is accepted, read or answered meanwhile.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Wants all connections cut; what comes back tells that they are.
    pub(super) fn cut(&self) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        // A server that is gone has no connections, and says so by dropping the sender.
        let _ = self.cuts.send(done);
        told
    }

    /// Closes the listener and cuts all connections, whatever they were doing. Returns the port, still reserved: nobody
    /// else on this machine gets it before the broker is back.
    pub(super) async fn stop(self) -> Option<Reserved> {
        drop(self.paused);
        // The task ends by itself; it fails only if the runtime ends first.
        self.task.await.ok().flatten()
    }
}

async fn accept(
    shared: Arc<Shared>,
    id: i32,
    mut listener: Listener,
    mut paused: watch::Receiver<bool>,
    mut cuts: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
) -> Option<Reserved> {
    let mut connections = JoinSet::new();
    loop {
        let still = *paused.borrow_and_update();
        let accepted = tokio::select! {
            // Whoever is to stop stops first; an ended connection makes room for the next.
            biased;
            // An error means that the sender is dropped.
            changed = paused.changed() => if changed.is_ok() { continue } else { break },
            Some(done) = cuts.recv() => {
                connections.shutdown().await;
                let _ = done.send(());
                continue;
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept(), if !still => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < shared.settings.max_connections => {
                let link = Link { shared: shared.clone(), broker: id, peer, paused: paused.clone() };
                connections.spawn(link.serve(stream));
            }
            Ok(_) => tracing::warn!(broker = id, "a connection above the limit was refused"),
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only burn the processor.
                tracing::warn!(broker = id, %error, "accepting a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let reserved = listener.into_reserved();
    connections.shutdown().await;
    reserved
}

/// One accepted connection.
struct Link {
    shared: Arc<Shared>,
    broker: i32,
    peer: String,
    paused: watch::Receiver<bool>,
}

impl Link {
    async fn serve(mut self, stream: BoxedStream) {
        if let Err(error) = self.converse(stream).await {
            tracing::debug!(broker = self.broker, peer = self.peer, %error, "a connection ended");
        }
    }

    /// Answers requests until one side has had enough.
    async fn converse(&mut self, stream: BoxedStream) -> io::Result<()> {
        let settings = &self.shared.settings;
        let deadline = Instant::now() + settings.handshake_timeout;
        let (stream, certified) = timeout_at(deadline, secured(&self.shared, stream)).await??;
        let session = Session::new(self.broker, self.peer.clone(), certified, settings.sasl.has_users());
        let (session, mut wire) = (Arc::new(session), Wire { stream, ahead: None });
        let mut counted = false;
        let mut door = Some(deadline);
        loop {
            if !counted && session.is_proven() {
                counted = true;
                self.shared.requests.count_connection(session.principal());
            }
            let frame = if session.is_proven() {
                door = None;
                wire.read_frame(settings.max_request_bytes).await?
            } else {
                // Whoever shows credentials again has as much time as the first time (KIP-368).
                let deadline = *door.get_or_insert_with(|| Instant::now() + settings.handshake_timeout);
                let max = settings.max_request_bytes.min(MAX_UNPROVEN);
                timeout_at(deadline, wire.read_frame(max)).await??
            };
            let Some(frame) = frame else { return Ok(()) };
            resumed(&mut self.paused).await;
            let outcome = tokio::select! {
                // An answer that is ready counts, even if the client hung up at the same moment.
                biased;
                outcome = api::answer(&self.shared, &session, frame) => outcome,
                () = wire.hung_up() => return Ok(()),
            };
            resumed(&mut self.paused).await;
            match outcome {
                Outcome::Nothing => {}
                Outcome::Close => return Ok(()),
                Outcome::Silence => return wire.swallow().await,
                Outcome::Reply(pieces, then) => {
                    wire.write(Pieces(pieces.into())).await?;
                    match then {
                        Then::Continue => {}
                        Then::Mute(time) => sleep(time).await,
                        Then::Close => return wire.end().await,
                        Then::Silence => return wire.swallow().await,
                    }
                }
            }
        }
    }
}

/// Waits while the broker stands still.
async fn resumed(paused: &mut watch::Receiver<bool>) {
    // An error means that the broker stops; whoever waits here is cut then.
    drop(paused.wait_for(|paused| !paused).await);
}

/// Speaks TLS if the cluster does; also gives the name in the client's certificate.
async fn secured(shared: &Shared, stream: BoxedStream) -> io::Result<(BoxedStream, Option<String>)> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &shared.tls {
        return tls.accept(stream).await;
    }
    let _ = shared;
    Ok((stream, None))
}

/// Whatever carries the bytes of a connection: TCP, TLS over it, or a pipe in this process.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) type BoxedStream = Box<dyn Stream>;

/// A connection's bytes.
struct Wire {
    stream: BoxedStream,
    /// A byte of the next frame, read when nothing but the end of the connection was looked for.
    ahead: Option<u8>,
}

impl Wire {
    /// The next frame without its length; `None` at the end of the connection.
    async fn read_frame(&mut self, max: usize) -> io::Result<Option<Bytes>> {
        let mut length = [0; 4];
        let known = usize::from(self.ahead.is_some());
        length[0] = self.ahead.take().unwrap_or_default();
        match self.stream.read_exact(&mut length[known..]).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| *length <= max);
        let Some(length) = length else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame length out of bounds"));
        };
        timeout(FRAME_TIME, self.read_body(length)).await?.map(Some)
    }

    /// The bytes of a frame of this length.
    async fn read_body(&mut self, length: usize) -> io::Result<Bytes> {
        let mut frame = Vec::with_capacity(length.min(EAGER));
        while frame.len() < length {
            let left = length - frame.len();
            if frame.len() == frame.capacity() {
                frame.reserve_exact(left.min(frame.len()));
            }
            if (&mut self.stream).take(left as u64).read_buf(&mut frame).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(frame.into())
    }

    /// Writes a reply; the client has to take some of it now and then.
    async fn write(&mut self, mut reply: Pieces) -> io::Result<()> {
        while reply.has_remaining() {
            if timeout(WRITE_STALL, self.stream.write_buf(&mut reply)).await?? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        timeout(WRITE_STALL, self.stream.flush()).await?
    }

    /// Comes back when the client has gone while its request waits, so that no long poll outlives its reader.
    async fn hung_up(&mut self) {
        if self.ahead.is_none() {
            let mut byte = [0];
            match self.stream.read(&mut byte).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.ahead = Some(byte[0]),
            }
        }
        // It has sent its next request already; whether it is still there shows after this one.
        std::future::pending().await
    }

    /// Ends the connection after what was written; over TLS, with words.
    async fn end(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads without ever answering, until the client gives up.
    async fn swallow(&mut self) -> io::Result<()> {
        let mut scratch = vec![0; 16 * 1024];
        while self.stream.read(&mut scratch).await? > 0 {}
        Ok(())
    }
}

/// Pieces of a reply, written in one go as far as the system takes them.
struct Pieces(VecDeque<Bytes>);

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.0);
        filled.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(piece) = self.0.front_mut() {
            if count < piece.len() {
                return piece.advance(count);
            }
            count -= piece.len();
            self.0.pop_front();
        }
    }
}

/// This much is reserved for a frame at once; a larger one gets more as its bytes come.
const EAGER: usize = 8 << 20;

/// The longest request of a client that has not shown yet who it is, as Kafka's `sasl.server.max.receive.size`.
const MAX_UNPROVEN: usize = 512 << 10;

/// A request whose length has come must have come whole after this time.
const FRAME_TIME: Duration = Duration::from_secs(30);

/// A client that takes nothing of its reply for so long is gone.
const WRITE_STALL: Duration = Duration::from_secs(60);

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
