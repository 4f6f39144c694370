//! The task of one connection: it writes requests, reads replies, and hands each reply to whoever asked.
//!
//! Rules this file keeps:
//! - every decision is `machine::conn`'s; this loop moves bytes and wakes waiters;
//! - a request's pieces are written as they are (vectored), never copied together.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep_until},
};

use super::{Answer, Command, Lost, Peer, Waiter};
use crate::{
    error::{Error, ErrorKind},
    machine::conn::{Certainty, Conn, Poison},
    net::buffers::Buffers,
    plant::{self, Plant},
    wire::{self, Frame},
};

/// Everything one connection's task owns.
pub(super) struct Driver<S> {
    stream: S,
    inbox: mpsc::UnboundedReceiver<Command>,
    conn: Conn<Waiter>,
    out: VecDeque<Outgoing>,
    input: BytesMut,
    /// A reply that is larger than what one small read brings.
    body: Option<Body>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    buffers: Buffers,
    address: Arc<str>,
    /// No request was answered yet, and no credentials were shown.
    may_want_sasl: bool,
}

struct Outgoing {
    correlation_id: Option<i32>,
    pieces: VecDeque<Bytes>,
    started: bool,
    written: Option<oneshot::Sender<Answer>>,
}

struct Body {
    buffer: Vec<u8>,
    len: usize,
}

/// Why the task ends.
enum End {
    /// Every handle is gone and nothing is open.
    Unused,
    Io(io::Error),
    PeerClosed,
    Poisoned(Poison),
    Wire(wire::DecodeError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match this.turn(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(end) => {
                this.fail_all(&end);
                Poll::Ready(())
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Ends when nobody can want anything of the connection any more, or when it is lost.
    pub(super) fn new(
        stream: S,
        inbox: mpsc::UnboundedReceiver<Command>,
        peer: &Peer,
        buffers: Buffers,
        max_frame: usize,
    ) -> Self {
        Self {
            stream,
            inbox,
            conn: Conn::new(max_frame),
            out: VecDeque::new(),
            input: BytesMut::new(),
            body: None,
            timer: Box::pin(sleep_until(Instant::now())),
            armed: None,
            buffers,
            address: peer.address.clone(),
            may_want_sasl: !peer.is_authenticated,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let unused = self.take_commands(cx);
        // First, so that a close that has come already is seen before a byte is written: what was asked meanwhile is
        // `NotSent` then, and may be asked elsewhere (N9).
        if let Poll::Ready(end) = self.read(cx) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(Err(end)) = self.write(cx) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = self.watch_time(cx) {
            return Poll::Ready(end);
        }
        // Last: the end of a throttle may have been all that this connection was waiting for.
        if unused && self.out.is_empty() && self.conn.poll_timeout().is_none() && !plant::is(Plant::LeakConnections) {
            return Poll::Ready(End::Unused);
        }
        Poll::Pending
    }

    /// Takes in what callers want. `true` when nobody can want anything any more.
    fn take_commands(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now().into_std();
        loop {
            match self.inbox.poll_recv(cx) {
                Poll::Pending => return false,
                Poll::Ready(None) => return true,
                Poll::Ready(Some(Command::Throttle(time))) => self.conn.handle_throttle(now, time),
                Poll::Ready(Some(Command::Ask { correlation_id, frame, timeout, waiter })) => {
                    self.conn.handle_request(now, correlation_id, timeout, waiter);
                    self.queue(Some(correlation_id), frame, None);
                }
                Poll::Ready(Some(Command::Tell { frame, timeout, written })) => {
                    self.conn.handle_tell(now, timeout);
                    self.queue(None, frame, Some(written));
                }
            }
        }
    }

    fn queue(&mut self, correlation_id: Option<i32>, frame: Frame, written: Option<oneshot::Sender<Answer>>) {
        let pieces: VecDeque<Bytes> = frame.into_pieces().into();
        self.out.push_back(Outgoing { correlation_id, pieces, started: false, written });
    }

    /// Writes what there is to write, as much as the socket takes.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        while !self.out.is_empty() {
            let stands_open = self.out.front().is_some_and(|outgoing| outgoing.started);
            let may_write = self.conn.may_write(Instant::now().into_std());
            if !stands_open && !may_write {
                return Poll::Pending;
            }
            // What is begun is finished in any case; nothing behind it begins while the broker wants silence.
            let requests = if may_write { self.out.len() } else { 1 };
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            let pieces = self.out.iter().take(requests).flat_map(|outgoing| &outgoing.pieces);
            for (slice, piece) in slices.iter_mut().zip(pieces) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            let written = match ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count])) {
                Ok(0) => return Poll::Ready(Err(End::PeerClosed)),
                Ok(written) => written,
                Err(error) => return Poll::Ready(Err(End::Io(error))),
            };
            self.advance(written);
        }
        // TLS keeps what it encrypted until it is told to send it.
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(End::Io)?;
        Poll::Ready(Ok(()))
    }

    /// `written` bytes have left.
    fn advance(&mut self, mut written: usize) {
        while let Some(outgoing) = self.out.front_mut() {
            if written > 0 && !outgoing.started {
                outgoing.started = true;
                if let Some(correlation_id) = outgoing.correlation_id {
                    self.conn.handle_writing(correlation_id);
                }
            }
            while let Some(piece) = outgoing.pieces.front_mut() {
                if piece.len() > written {
                    piece.advance(written);
                    return;
                }
                written -= piece.len();
                outgoing.pieces.pop_front();
            }
            if let Some(waiter) = outgoing.written.take() {
                self.conn.handle_told();
                let _ = waiter.send(Ok(Bytes::new()));
            }
            self.out.pop_front();
        }
    }

    /// Reads replies until the socket has no more.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            while let Some(frame) = match self.next_frame() {
                Ok(frame) => frame,
                Err(poison) => return Poll::Ready(End::Poisoned(poison)),
            } {
                if let Err(end) = self.deliver(frame) {
                    return Poll::Ready(end);
                }
            }
            let read = match &mut self.body {
                Some(body) => {
                    let missing = body.len - body.buffer.len();
                    let mut room = (&mut body.buffer).limit(missing);
                    ready!(pin!(self.stream.read_buf(&mut room)).poll(cx))
                }
                None => {
                    self.input.reserve(SMALL_READ);
                    let mut room = (&mut self.input).limit(SMALL_READ);
                    ready!(pin!(self.stream.read_buf(&mut room)).poll(cx))
                }
            };
            match read {
                Ok(0) => return Poll::Ready(End::PeerClosed),
                Ok(_) => {}
                Err(error) => return Poll::Ready(End::Io(error)),
            }
        }
    }

    /// A whole reply, if one is here. A large one gets a buffer of its own once its length is known and checked.
    fn next_frame(&mut self) -> Result<Option<Bytes>, Poison> {
        if self.body.as_ref().is_some_and(|body| body.buffer.len() == body.len) {
            return Ok(self.body.take().map(|body| self.buffers.freeze(body.buffer)));
        }
        let Some(prefix) = self.input.first_chunk::<4>().filter(|_| self.body.is_none()) else { return Ok(None) };
        let len = self.conn.frame_length(*prefix)?;
        if self.input.len() - 4 >= len {
            self.input.advance(4);
            return Ok(Some(self.input.split_to(len).freeze()));
        }
        if 4 + len > SMALL_READ {
            let mut buffer = self.buffers.take(len);
            buffer.extend_from_slice(&self.input[4..]);
            self.input.clear();
            self.body = Some(Body { buffer, len });
        }
        Ok(None)
    }

    fn deliver(&mut self, frame: Bytes) -> Result<(), End> {
        let correlation_id = wire::response_correlation_id(&frame).map_err(End::Wire)?;
        let waiter = self.conn.handle_reply(correlation_id).map_err(End::Poisoned)?;
        self.may_want_sasl = false;
        // The caller may be gone; its reply is consumed all the same.
        if let Err(Ok(unread)) = waiter.reply.send(Ok(frame)) {
            let throttle = (waiter.throttle)(unread, waiter.version);
            if !throttle.is_zero() {
                self.conn.handle_throttle(Instant::now().into_std(), throttle);
            }
        }
        Ok(())
    }

    fn watch_time(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while let Some(at) = self.conn.poll_timeout().map(Instant::from_std) {
            if self.armed != Some(at) {
                self.timer.as_mut().reset(at);
                self.armed = Some(at);
            }
            ready!(self.timer.as_mut().poll(cx));
            self.armed = None;
            if let Err(poison) = self.conn.handle_timeout(Instant::now().into_std()) {
                return Poll::Ready(End::Poisoned(poison));
            }
            // A throttle may just have ended.
            if let Poll::Ready(Err(end)) = self.write(cx) {
                return Poll::Ready(end);
            }
        }
        Poll::Pending
    }

    /// Tells every waiter why there is no answer.
    fn fail_all(&mut self, end: &End) {
        self.inbox.close();
        let error = end.error(&self.address, self.may_want_sasl);
        tracing::debug!(address = %self.address, %error, "connection ended");
        for (waiter, certainty) in self.conn.handle_lost() {
            let _ = waiter.reply.send(Err(Lost { certainty, error: error.clone() }));
        }
        for outgoing in self.out.drain(..) {
            let certainty = if outgoing.started { Certainty::MaybeSent } else { Certainty::NotSent };
            if let Some(waiter) = outgoing.written {
                let _ = waiter.send(Err(Lost { certainty, error: error.clone() }));
            }
        }
    }
}

impl End {
    fn error(&self, address: &str, may_want_sasl: bool) -> Error {
        let new = Error::new;
        match self {
            // Brokers let anybody ask for versions, and hang up at the first request that needs a name.
            Self::PeerClosed if may_want_sasl => new(
                ErrorKind::Disconnected,
                format!(
                    "{address} closed the connection at the first request: it may want SASL (security.protocol=SASL_PLAINTEXT or SASL_SSL)"
                ),
            ),
            Self::Unused => new(ErrorKind::Closed, format!("the connection to {address} was closed, unused")),
            Self::Io(error) => new(ErrorKind::Disconnected, format!("the connection to {address} broke: {error}")),
            Self::PeerClosed => new(ErrorKind::Disconnected, format!("{address} closed the connection")),
            Self::Poisoned(poison @ Poison::Overdue { .. }) => new(ErrorKind::Timeout, format!("{address}: {poison}")),
            Self::Poisoned(poison) => new(ErrorKind::Protocol, format!("{address}: {poison}")),
            Self::Wire(error) => new(ErrorKind::Protocol, format!("{address} sent what is no reply: {error}")),
        }
    }
}

/// Most replies fit into one read of this size; larger ones get a buffer of their own.
const SMALL_READ: usize = 16 << 10;
/// Pieces of one vectored write.
const MAX_SLICES: usize = 64;
