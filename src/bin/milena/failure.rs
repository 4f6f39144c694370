//! How a command ends that could not do what it was asked for.
//!
//! Rules this file keeps:
//! - an error with all its causes is one line; a cause that its parent already quotes is not said twice;
//! - whoever closed our stdout has seen enough: that ends a command quietly and well.

use std::{error::Error, io, process::ExitCode};

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 2: the command line makes no sense.
    Usage(String),
    /// Exit code 1: this line says what went wrong.
    Error(String),
    /// Exit code 1: all was said already.
    Reported,
    /// Exit code 0: nobody reads our stdout any more.
    StdoutClosed,
}

impl Failure {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::Error(message.into())
    }

    /// Why stdout could not be written.
    pub(crate) fn stdout(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::StdoutClosed,
            _ => Self::Error(format!("cannot write to stdout: {}", chain(&error))),
        }
    }

    /// Says it on stderr and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Usage(message) => {
                say(&message);
                ExitCode::from(2)
            }
            Self::Error(message) => {
                say(&message);
                ExitCode::FAILURE
            }
            Self::Reported => ExitCode::FAILURE,
            Self::StdoutClosed => ExitCode::SUCCESS,
        }
    }
}

/// Writes one line to stderr. A closed stderr is nobody's concern.
pub(crate) fn say(message: &str) {
    use io::Write;
    let _ = writeln!(io::stderr(), "milena: {}", one_line(message));
}

/// The number with its noun, in the plural unless there is one.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    one_line(&line)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl From<milena::Error> for Failure {
    fn from(error: milena::Error) -> Self {
        Self::Error(chain(&error))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Error(chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use milena::{Error, ErrorKind};

    use super::chain;

    #[test]
    fn causes_are_joined_once_and_into_one_line() {
        let inner = std::io::Error::other("refused\n  by peer");
        let middle = Error::new(ErrorKind::Disconnected, "a:1 refused").with_source(inner);
        let error = Error::new(ErrorKind::Connect, "no broker: a:1 refused").with_source(middle);
        assert_eq!(chain(&error), "no broker: a:1 refused: refused by peer");
    }
}
