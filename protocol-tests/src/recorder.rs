//! A relay between Kafka's clients and one broker that writes down every frame and changes none.
//!
//! Rules this file keeps:
//! - bytes pass unchanged: the broker must itself advertise the relay's address (`advertised.listeners`), or clients
//!   go past it;
//! - a response belongs to the request of its connection that has its correlation id;
//! - a request is written down before the broker can see it, so that its answer finds it.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::golden::Exchange;

/// What went through one or more relays, in the order of the requests.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    tape: Arc<Mutex<Vec<Recorded>>>,
    connections: Arc<AtomicUsize>,
}

/// One exchange and where it was heard.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The name of the relay.
    pub relay: &'static str,
    /// Which connection, counted over all relays.
    pub connection: usize,
    /// The bytes.
    pub exchange: Exchange,
}

impl Recorder {
    /// Relays every connection of `listener` to `broker` until the handle is aborted or dropped with its runtime.
    pub fn relay(&self, relay: &'static str, listener: TcpListener, broker: String) -> JoinHandle<()> {
        let recorder = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = recorder.connections.fetch_add(1, Ordering::Relaxed);
                let (recorder, broker) = (recorder.clone(), broker.clone());
                tokio::spawn(async move {
                    // A broker that is down or a side that resets ends the connection, which is all a relay can do.
                    let _ = recorder.pass(relay, connection, client, &broker).await;
                });
            }
        })
    }

    /// What was recorded so far.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.tape().clone()
    }

    async fn pass(
        &self,
        relay: &'static str,
        connection: usize,
        mut client: TcpStream,
        broker: &str,
    ) -> io::Result<()> {
        let mut broker = TcpStream::connect(broker).await?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_broker, mut to_broker) = broker.split();
        let open = Mutex::new(HashMap::new());
        let requests = frames(&mut from_client, &mut to_broker, |frame| {
            let index = self.request(relay, connection, frame);
            correlation_id(frame, 4).map(|id| lock(&open).insert(id, index));
        });
        let responses = frames(&mut from_broker, &mut to_client, |frame| {
            let index = correlation_id(frame, 0).and_then(|id| lock(&open).remove(&id));
            index.into_iter().for_each(|index| self.response(index, frame));
        });
        tokio::try_join!(requests, responses).map(|_| ())
    }

    fn request(&self, relay: &'static str, connection: usize, frame: &[u8]) -> usize {
        let exchange = Exchange { note: String::new(), request: frame.to_vec(), response: None };
        let mut tape = self.tape();
        tape.push(Recorded { relay, connection, exchange });
        tape.len() - 1
    }

    fn response(&self, index: usize, frame: &[u8]) {
        if let Some(recorded) = self.tape().get_mut(index) {
            recorded.exchange.response = Some(frame.to_vec());
        }
    }

    fn tape(&self) -> MutexGuard<'_, Vec<Recorded>> {
        lock(&self.tape)
    }
}

/// Hands frames on until the sender is done, each to `note` first.
async fn frames(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut note: impl FnMut(&[u8]),
) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        match from.read_exact(&mut length).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return to.shutdown().await,
            other => other?,
        };
        let size = u32::from_be_bytes(length) as usize;
        if size > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not Kafka's protocol"));
        }
        let mut frame = vec![0; size];
        from.read_exact(&mut frame).await?;
        note(&frame);
        to.write_all(&[&length[..], &frame].concat()).await?;
    }
}

fn correlation_id(frame: &[u8], at: usize) -> Option<i32> {
    frame.get(at..at + 4)?.try_into().ok().map(i32::from_be_bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brokers refuse longer requests unless told otherwise.
const LONGEST: usize = 100 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Two requests that are answered in the other order, and one that is not: each response is with its request.
    #[tokio::test]
    async fn answers_find_their_requests() -> io::Result<()> {
        let (broker, relay) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let (target, address) = (broker.local_addr()?.to_string(), relay.local_addr()?);
        let recorder = Recorder::default();
        recorder.relay("test", relay, target);
        let mut client = TcpStream::connect(address).await?;
        let (mut server, _) = broker.accept().await?;
        for id in 1..=3u8 {
            client.write_all(&[0, 0, 0, 8, 0, 3, 0, 1, 0, 0, 0, id]).await?;
        }
        let mut seen = [0; 36];
        server.read_exact(&mut seen).await?;
        assert_eq!(&seen[24..], [0, 0, 0, 8, 0, 3, 0, 1, 0, 0, 0, 3], "unchanged");
        server.write_all(&[0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 1, 9]).await?;
        let mut answers = [0; 17];
        client.read_exact(&mut answers).await?;
        let answers: Vec<_> = recorder.recorded().into_iter().map(|recorded| recorded.exchange.response).collect();
        assert_eq!(answers, [Some(vec![0, 0, 0, 1, 9]), Some(vec![0, 0, 0, 2]), None]);
        Ok(())
    }
}
