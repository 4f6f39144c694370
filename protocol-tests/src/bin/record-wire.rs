//! Writes down what goes between clients and one broker: `record-wire LISTEN BROKER FILE`, addresses as `HOST:PORT`.
//!
//! Rules this file keeps:
//! - nothing is changed on the way, so the broker has to advertise LISTEN (`advertised.listeners`), or clients go past;
//! - FILE is whole at any moment and at most [`PAUSE`] late; it is what `milena decode` reads;
//! - nothing is left out: whoever records a client that logs in has its password in FILE.

use std::{env, fs, io, process::ExitCode, time::Duration};

use protocol_tests::{
    golden::{self, Exchange},
    recorder::{Recorded, Recorder},
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [listen, broker, file] = &arguments[..] else {
        eprintln!("usage: record-wire LISTEN BROKER FILE");
        return ExitCode::from(2);
    };
    match record(listen, broker, file).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("record-wire: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Records until the process is ended.
async fn record(listen: &str, broker: &str, file: &str) -> io::Result<()> {
    let recorder = Recorder::default();
    let relay = recorder.relay("broker", TcpListener::bind(listen).await?, broker.to_string());
    let head = format!("Between {broker} and clients of {listen}.");
    let mut written = None;
    while !relay.is_finished() {
        let text = golden::print(&head, &recorder.recorded().into_iter().map(noted).collect::<Vec<_>>());
        if written.as_ref() != Some(&text) {
            let whole = format!("{file}.new");
            fs::write(&whole, &text)?;
            fs::rename(whole, file)?;
            written = Some(text);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn noted(one: Recorded) -> Exchange {
    Exchange { note: format!("connection {}", one.connection), ..one.exchange }
}

/// Between two looks at what was recorded.
const PAUSE: Duration = Duration::from_millis(200);
