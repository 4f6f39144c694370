//! The command-line tool as scripts see it: arguments, stdin, stdout, stderr and exit codes of the built program.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

mod broker;
mod decode;
mod demo;
mod lines;
mod perf;
mod usage;
mod verifiable;

/// A running `milena broker`.
struct Broker {
    child: Child,
    bootstrap: String,
    registry: String,
}

impl Broker {
    fn start(more: &[&str]) -> Self {
        let arguments = [&["broker", "--listen", "127.0.0.1:0", "--registry-listen", "127.0.0.1:0"], more].concat();
        let mut child = spawn(&arguments, Stdio::null());
        let line = next_line(&mut BufReader::new(child.stdout.as_mut().unwrap()));
        let (bootstrap, registry) = line
            .strip_prefix("ready bootstrap=")
            .and_then(|rest| rest.split_once(" registry="))
            .unwrap_or_else(|| panic!("not ready: {line:?}"));
        Self { bootstrap: bootstrap.to_owned(), registry: registry.to_owned(), child }
    }

    fn produce(&self, topic: &str, more: &[&str], input: &[u8]) -> Output {
        run(&[&["produce", "-b", &self.bootstrap, "-t", topic], more].concat(), input)
    }

    fn consume(&self, topic: &str, more: &[&str]) -> Output {
        run(&[&["consume", "-b", &self.bootstrap, "-t", topic], more].concat(), b"")
    }

    fn consume_text(&self, topic: &str, more: &[&str]) -> String {
        let output = self.consume(topic, more);
        assert!(output.status.success(), "{more:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[&str], stdin: Stdio) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milena"));
    command.args(arguments).env_remove("MILENA_LOG").env_remove("RUST_BACKTRACE");
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = spawn(arguments, Stdio::piped());
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    let feeding = thread::spawn(move || stdin.write_all(&input));
    let output = finish(child);
    // A program that ends without reading its input has closed the pipe.
    let _ = feeding.join().unwrap();
    output
}

/// Everything that the program still writes, and how it ends; a program that does not end fails the test.
fn finish(mut child: Child) -> Output {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = thread::spawn(move || read_all(stdout));
    let (errors, status) = (thread::spawn(move || read_all(stderr)), wait(&mut child));
    let output = Output { status, stdout: reading.join().unwrap(), stderr: errors.join().unwrap() };
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    output
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.map(|mut pipe| pipe.read_to_end(&mut bytes).unwrap());
    bytes
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("the program did not end within {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn next_line(lines: &mut BufReader<impl Read>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim_end_matches('\n').to_owned()
}

/// SIGTERM, by the shell's own command: the standard library can only kill.
fn terminate(child: &Child) {
    signal(child, "TERM");
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json_lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn last_line(bytes: &[u8]) -> String {
    text(bytes).lines().last().unwrap_or_default().to_owned()
}

fn assert_one_line_error(output: &Output, expected: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    assert!(stderr.starts_with("milena: ") && stderr.lines().count() == 1, "{stderr:?}");
    assert!(stderr.contains(expected), "{stderr:?} does not contain {expected:?}");
}

/// Longer than anything here takes on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(90);
