//! One connection of an in-process network: bytes that are under way, and the two ends.
//!
//! Rules this file keeps:
//! - so many bytes are under way each way as a socket's buffers would hold; who writes more waits;
//! - a chunk is read no earlier than its time, and never before the one in front of it;
//! - an end that is dropped is seen by the other one as end of file, after what was written before.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{MemoryNetwork, State, Weather};

/// An end of a connection. What it writes goes into the pipe of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client = 0,
    Broker = 1,
}

/// One end's handle to a connection.
#[derive(Debug)]
pub(crate) struct MemoryStream {
    network: MemoryNetwork,
    pub(super) number: u64,
    side: Side,
    /// Fires when the next chunk is due.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Both ways of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: String,
    /// By the side that writes into it.
    pipes: [Pipe; 2],
}

/// The bytes of one way.
#[derive(Debug, Default)]
struct Pipe {
    chunks: VecDeque<(Instant, Bytes)>,
    /// Bytes in `chunks`.
    held: usize,
    /// When the last chunk is due.
    last_due: Option<Instant>,
    /// Its writer is gone, or has said that nothing more will come; the reader sees that not before then.
    ended: Option<Instant>,
    /// Its reader is gone.
    unread: bool,
    /// Reading it and writing to it fail.
    reset: bool,
    /// Bytes until it is reset, once they are read.
    left: Option<usize>,
    /// What is written vanishes.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Link {
    pub(super) fn new(address: String) -> Self {
        Self { address, pipes: Default::default() }
    }

    /// Both ends fail at once.
    pub(super) fn reset(&mut self) {
        for pipe in &mut self.pipes {
            pipe.chunks.clear();
            pipe.reset = true;
            pipe.wake();
        }
    }

    pub(super) fn reset_after(&mut self, side: Side, bytes: usize) {
        let pipe = &mut self.pipes[side as usize];
        pipe.left = Some(pipe.left.map_or(bytes, |left| left.min(bytes)));
        if bytes == 0 {
            self.reset();
        }
    }

    /// The broker's end fails; the client's end writes into the void and hears nothing.
    pub(super) fn abandon(&mut self) {
        for pipe in &mut self.pipes {
            pipe.chunks.clear();
            pipe.deaf = true;
        }
        // The broker reads from the one, and the other one ends it at its next write.
        self.pipes[Side::Client as usize].ended = Some(Instant::now());
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        self.pipes.iter_mut().for_each(Pipe::wake);
    }

    pub(super) fn has_client(&self) -> bool {
        !self.pipes[Side::Broker as usize].unread
    }

    /// Whether bytes of this side have vanished, or will.
    #[cfg(test)]
    pub(super) fn has_lost(&self, side: Side) -> bool {
        let pipe = &self.pipes[side as usize];
        pipe.deaf || pipe.reset || pipe.unread || pipe.ended.is_some()
    }

    fn is_over(&self) -> bool {
        self.pipes.iter().all(|pipe| pipe.unread)
    }
}

impl Pipe {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: Bytes, due: Instant) -> Poll<io::Result<usize>> {
        if self.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        if self.unread || self.ended.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.held >= CAPACITY {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = bytes.len().min(CAPACITY - self.held).min(self.left.unwrap_or(usize::MAX));
        let due = self.last_due.map_or(due, |last| last.max(due));
        self.last_due = Some(due);
        self.held += count;
        self.left = self.left.map(|left| left - count);
        self.chunks.push_back((due, bytes.slice(..count)));
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    /// What can be read now, or when to look again: `Err(None)` when somebody will call.
    fn next(&mut self, now: Instant) -> Result<io::Result<Option<&mut Bytes>>, Option<Instant>> {
        if self.reset {
            return Ok(Err(io::ErrorKind::ConnectionReset.into()));
        }
        match self.chunks.front() {
            Some((due, _)) if *due > now => return Err(Some(*due)),
            Some(_) => {}
            None if self.left == Some(0) => return Ok(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                return match self.ended {
                    Some(at) if at <= now => Ok(Ok(None)),
                    at => Err(at),
                };
            }
        }
        Ok(Ok(self.chunks.front_mut().map(|(_, bytes)| bytes)))
    }

    fn read(&mut self, count: usize) {
        self.held -= count;
        while self.chunks.front().is_some_and(|(_, bytes)| bytes.is_empty()) {
            self.chunks.pop_front();
        }
        self.writer.take().into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn poll_write(&mut self, number: u64, side: Side, cx: &mut Context<'_>, bytes: Bytes) -> Poll<io::Result<usize>> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let pace = self.bandwidth.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(length as f64 / rate as f64));
        let due = Instant::now() + self.delay() + pace;
        let Some(link) = self.links.get_mut(&number) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if self.weather.get(&link.address).is_some_and(|weather| weather.black[side as usize]) {
            link.pipes[side as usize].deaf = true;
        }
        let pipe = &mut link.pipes[side as usize];
        let written = pipe.poll_write(cx, bytes, due);
        let is_through = pipe.left == Some(0);
        if is_through {
            pipe.ended = pipe.ended.or(Some(due));
            pipe.wake();
            // The other way ends as well; this way's reader gets the bytes first.
            let other = &mut link.pipes[1 - side as usize];
            other.reset = true;
            other.wake();
        }
        written
    }

    fn poll_read(
        &mut self,
        number: u64,
        side: Side,
        cx: &mut Context<'_>,
        timer: &mut Option<Pin<Box<Sleep>>>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(link) = self.links.get_mut(&number) else { return Poll::Ready(Ok(())) };
        let from = 1 - side as usize;
        let is_stalled = |weather: &Weather| weather.stalled[from];
        let stalled = self.weather.get(&link.address).is_some_and(is_stalled);
        let pipe = &mut link.pipes[from];
        pipe.reader = Some(cx.waker().clone());
        if stalled && !pipe.reset {
            return Poll::Pending;
        }
        loop {
            match pipe.next(Instant::now()) {
                Ok(Ok(Some(bytes))) => {
                    let count = bytes.len().min(buffer.remaining());
                    buffer.put_slice(&bytes[..count]);
                    bytes.advance(count);
                    pipe.read(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Ok(None)) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(None) => return Poll::Pending,
                Err(Some(due)) => {
                    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
                    if timer.deadline() != due {
                        timer.as_mut().reset(due);
                    }
                    std::task::ready!(timer.as_mut().poll(cx));
                }
            }
        }
    }

    /// One end is gone: the other one sees the end of file, and that nobody reads what it writes.
    fn close(&mut self, number: u64, side: Side) {
        self.end(number, side);
        let Some(link) = self.links.get_mut(&number) else { return };
        link.pipes[1 - side as usize].unread = true;
        link.wake();
        if link.is_over() {
            self.links.remove(&number);
        }
    }

    /// One end will write no more.
    fn end(&mut self, number: u64, side: Side) {
        let due = Instant::now() + self.delay();
        let Some(link) = self.links.get_mut(&number) else { return };
        let is_black = self.weather.get(&link.address).is_some_and(|weather| weather.black[side as usize]);
        let pipe = &mut link.pipes[side as usize];
        // Where bytes vanish, so does the news that there will be no more.
        if !is_black && !pipe.deaf && pipe.ended.is_none() {
            pipe.ended = Some(pipe.last_due.map_or(due, |last| last.max(due)));
            pipe.wake();
        }
    }
}

impl MemoryStream {
    pub(super) fn new(network: &MemoryNetwork, number: u64, side: Side) -> Self {
        Self { network: network.clone(), number, side, timer: None }
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.network.state().close(self.number, self.side);
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.network.state().poll_read(this.number, this.side, cx, &mut this.timer, buffer)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = BytesMut::new();
        for piece in pieces {
            let room = CAPACITY - bytes.len();
            bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.network.state().poll_write(self.number, self.side, cx, bytes.freeze())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.state().end(self.number, self.side);
        Poll::Ready(Ok(()))
    }
}

/// Bytes under way in one direction, as much as the two buffers of a socket pair hold.
const CAPACITY: usize = 256 << 10;
