//! Makes the goldens again: `compose/with-kafka --no-registry cargo run -p protocol-tests --bin capture`.
//!
//! Rules this file keeps:
//! - the broker is started anew with relays in front of its listeners, and advertises them; the relays change nothing;
//! - first the Java client sends what it can, then the probes send every version that the broker offers;
//! - only what a broker answered is kept, and requests that want no answer.

mod broker;
mod plausible;
mod probe;
mod select;
mod world;

use std::{env, path::PathBuf, process::ExitCode};

use protocol_tests::recorder::Recorder;

use crate::broker::Broker;

#[tokio::main]
async fn main() -> ExitCode {
    match capture().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capture: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn capture() -> Result<(), Box<dyn std::error::Error>> {
    let control = env::var("MILENA_BROKER_CTL").map_err(|_| "run me under compose/with-kafka")?;
    let recorder = Recorder::default();
    let broker = Broker::behind(&recorder, PathBuf::from(control)).await?;
    broker.java_client()?;
    let silent = probe::everything(&broker).await?;
    for line in &silent {
        println!("unanswered: {line}");
    }
    println!("{}", select::write(recorder.recorded(), &broker.version)?);
    Ok(())
}
