//! A broker's listener: accepts connections and gives each a task of its own.
//!
//! Rules this file keeps:
//! - the requests of a connection are served one after the other and answered in order, as Kafka does;
//! - a frame's length is checked before memory is reserved, and at most [`EAGER`] is reserved before its bytes come;
//! - stopping closes the listener first and then every connection, and returns when all of them are gone.

use std::{collections::VecDeque, io, io::IoSlice, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::{
    Shared,
    api::{self, Outcome, Then},
    listener::{Listener, Reserved},
    session::Session,
};

/// A listening broker. Dropping it stops it without waiting.
#[derive(Debug)]
pub(super) struct Server {
    stop: watch::Sender<()>,
    task: JoinHandle<Option<Reserved>>,
}

impl Server {
    /// Serves the connections of `listener` as broker `id`.
    pub(super) fn start(shared: Arc<Shared>, id: i32, listener: Listener) -> Self {
        let (stop, stopped) = watch::channel(());
        Self { stop, task: tokio::spawn(accept(shared, id, listener, stopped)) }
    }

    /// Closes the listener and cuts all connections, whatever they were doing. Returns the port, still reserved: nobody
    /// else on this machine gets it before the broker is back.
    pub(super) async fn stop(self) -> Option<Reserved> {
        drop(self.stop);
        // The task ends by itself; it fails only if the runtime ends first.
        self.task.await.ok().flatten()
    }
}

async fn accept(
    shared: Arc<Shared>,
    id: i32,
    mut listener: Listener,
    mut stopped: watch::Receiver<()>,
) -> Option<Reserved> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // Whoever is to stop stops first; an ended connection makes room for the next.
            biased;
            // Nothing is ever sent: this wakes when the sender is dropped.
            _ = stopped.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < shared.settings.max_connections => {
                connections.spawn(serve(shared.clone(), Arc::new(Session::new(id, peer)), stream));
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

async fn serve(shared: Arc<Shared>, session: Arc<Session>, stream: BoxedStream) {
    let mut wire = Wire { stream, ahead: None };
    if let Err(error) = converse(&shared, &session, &mut wire).await {
        tracing::debug!(broker = session.broker, peer = session.peer, %error, "a connection ended");
    }
}

/// Answers requests until one side has had enough.
async fn converse(shared: &Arc<Shared>, session: &Arc<Session>, wire: &mut Wire) -> io::Result<()> {
    while let Some(frame) = wire.read_frame(shared.settings.max_request_bytes).await? {
        let outcome = tokio::select! {
            // An answer that is ready counts, even if the client hung up at the same moment.
            biased;
            outcome = api::answer(shared, session, frame) => outcome,
            () = wire.hung_up() => return Ok(()),
        };
        match outcome {
            Outcome::Nothing => {}
            Outcome::Close => return Ok(()),
            Outcome::Silence => return wire.swallow().await,
            Outcome::Reply(pieces, then) => {
                wire.stream.write_all_buf(&mut Pieces(pieces.into())).await?;
                wire.stream.flush().await?;
                match then {
                    Then::Continue => {}
                    Then::Mute(time) => sleep(time).await,
                    Then::Close => return Ok(()),
                    Then::Silence => return wire.swallow().await,
                }
            }
        }
    }
    Ok(())
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
        Ok(Some(frame.into()))
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

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
