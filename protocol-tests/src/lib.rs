//! What the tests of this package share.

pub mod catalog;
pub mod chaos;
pub mod fuzz;
pub mod golden;
pub mod jar;
pub mod random;
pub mod readback;
pub mod record_golden;
pub mod recorder;
pub mod relay;
pub mod shortest;

use std::{env, process::Command, time::Duration};

use bytes::Bytes;
use milena::wire::{self, tree::Tree};

/// The servers that `compose/with-kafka` started.
#[derive(Debug, Clone)]
pub struct Live {
    /// `HOST:PORT` of the broker's plaintext listener.
    pub bootstrap: String,
}

/// A body as the reader of `milena decode` sees it.
pub fn tree_of(table: &catalog::Table, version: i16, body: Bytes) -> Tree {
    let catalog::Table { name, versions, flexible_from, fields, .. } = table;
    let table = wire::Table { name, versions: versions.clone(), flexible_from: *flexible_from, fields };
    Tree::read(&table, version, body)
}

/// A body as failing tests print it: the tree as far as it can be read, and the bytes.
pub fn show(table: &catalog::Table, version: i16, body: &Bytes) -> String {
    let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}body: {hex}", tree_of(table, version, body.clone()))
}

/// The live servers, or `None` on a user's machine that has none: the test then says so and passes over.
///
/// # Panics
/// Where `CI` is set and there are no servers: a test that did not run must not read as passed.
pub fn live(test: &str) -> Option<Live> {
    variable(test, "MILENA_BOOTSTRAP").map(|bootstrap| Live { bootstrap })
}

/// Runs a test against the live servers, if there are any, with two threads and an end to its patience.
///
/// # Panics
/// When the test fails, or takes too long.
pub fn run_live(test: &str, body: impl AsyncFnOnce(Live) -> milena::Result<()>) {
    let Some(live) = live(test) else { return };
    let builder = &mut tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, body(live)).await }).expect("in time").expect("no error");
}

/// One variable that `compose/with-kafka` exports, under the same rule as [`live`].
pub fn variable(test: &str, name: &str) -> Option<String> {
    if let Ok(value) = env::var(name) {
        return Some(value);
    }
    let how = "compose/with-kafka cargo test --workspace --features full";
    assert!(env::var_os("CI").is_none(), "{test}: {name} is not set, and in CI live tests have to run: {how}");
    // To the terminal even when the harness captures what passing tests print.
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("SKIPPED {test}: no live server ({name} is not set). To run it: {how}\n").as_bytes(),
    );
    None
}

impl Live {
    /// Runs the control script of the broker: `kill`, `start`, `pause`, `resume`, `tool CLASS ARGS…`.
    ///
    /// # Panics
    /// When the script fails.
    pub fn control(&self, arguments: &[&str]) -> String {
        let script = env::var("MILENA_BROKER_CTL").expect("compose/with-kafka exports MILENA_BROKER_CTL");
        let output = Command::new(script).args(arguments).output().expect("the control script starts");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
        stdout.into_owned()
    }
}

/// A name that no other test run uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{:08x}", fastrand::u32(..))
}

/// No live test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(120);
