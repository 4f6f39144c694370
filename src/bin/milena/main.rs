//! The command-line tool `milena`: a clap program over the public API of the crate, one file per command.
//!
//! Rules this program keeps:
//! - stdout carries results only, stderr the rest: errors are one line that a person understands;
//! - exit codes: 0 done, 1 an error or a failed record, 2 wrong usage; a closed stdout is not an error;
//! - names and flags stay: scripts are written on them.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

mod broker;
mod consume;
mod decode;
mod demo;
mod failure;
mod lines;
mod options;
mod perf;
mod produce;
mod signal;
mod verifiable;

use failure::Failure;

/// A Kafka client in Rust without a line of C: demo, embedded broker, produce, consume, measure, decode.
#[derive(Debug, Parser)]
#[command(name = "milena", version, after_help = "MILENA_LOG=debug writes what happens inside to stderr.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Broker(broker::Broker),
    Produce(produce::Produce),
    Consume(consume::Consume),
    Decode(decode::Decode),
    Perf(perf::Perf),
    VerifiableProducer(verifiable::VerifiableProducer),
    VerifiableConsumer(verifiable::VerifiableConsumer),
    TransactionalCopier(verifiable::TransactionalCopier),
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(without_cargos_dashes(std::env::args_os()));
    log_to_stderr();
    let done = match cli.command {
        Command::Demo(command) => command.run(),
        Command::Broker(command) => block_on(command.run()),
        Command::Produce(command) => block_on(command.run()),
        Command::Consume(command) => block_on(command.run()),
        Command::Decode(command) => command.run(),
        Command::Perf(command) => command.run(),
        Command::VerifiableProducer(command) => block_on(command.run()),
        Command::VerifiableConsumer(command) => block_on(command.run()),
        Command::TransactionalCopier(command) => block_on(command.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// `cargo demo -- FLAGS`: what an alias ends with is an argument already, so cargo hands the dashes on, and they would
/// turn every flag behind them into a plain word. The demo takes no plain words.
fn without_cargos_dashes(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    if arguments.get(1).is_some_and(|command| command == "demo")
        && arguments.get(2).is_some_and(|dashes| dashes == "--")
    {
        arguments.remove(2);
    }
    arguments
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("milena").build()?;
    let done = runtime.block_on(command);
    // A read of stdin or a slow close must not keep the process alive.
    runtime.shutdown_background();
    done
}

/// `MILENA_LOG` takes the filters of `tracing-subscriber`, such as `debug` or `milena=trace`.
fn log_to_stderr() {
    let Ok(filter) = std::env::var("MILENA_LOG") else { return };
    let filter = tracing_subscriber::EnvFilter::new(filter);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
