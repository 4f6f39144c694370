//! Every example runs against the embedded cluster and says what it should say.
//!
//! `cargo test` builds the examples beside the tests; with `--test examples` alone they may be missing or old, and this
//! passes over them.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use milena::embedded::EmbeddedCluster;

/// An example, the topic or URL it is given, and something that it says; whether it ends by itself.
const EXAMPLES: &[(&str, &str, &str, bool)] = &[
    ("producer", "orders", "and 1000 more", true),
    ("consumer", "orders", "created", false),
    ("transactions", "", "order 0: visible", true),
    ("request", "", "broker", true),
    ("avro", "REGISTRY", "", true),
    ("backpressure", "clicks", "", true),
    ("compound_key", "orders-by-customer", "", true),
    ("custom_partitioner", "payments", "", true),
    ("fan_in", "readings", "", true),
];

/// Ended when it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows itself");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

/// What it said, up to the wanted words if it does not end by itself.
fn output(name: &str, arguments: &[&str], wanted: &str, ends: bool) -> String {
    let command = Command::new(binary(name)).args(arguments).stdout(Stdio::piped()).spawn();
    let mut running = Running(command.unwrap_or_else(|error| panic!("{name}: {error}")));
    let (lines, begun) = (BufReader::new(running.0.stdout.take().expect("piped")), Instant::now());
    let mut text = String::new();
    for line in lines.lines().map_while(Result::ok) {
        text += &line;
        text.push('\n');
        if !ends && line.contains(wanted) {
            return text;
        }
    }
    let status = running.0.wait().expect("it ends");
    assert!(status.success(), "{name}: {status} after {:?}\n{text}", begun.elapsed());
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_example_runs() {
    let missing: Vec<_> = EXAMPLES.iter().filter(|(name, ..)| !binary(name).exists()).map(|(name, ..)| name).collect();
    if !missing.is_empty() {
        assert!(env::var_os("CI").is_none(), "examples that nobody built: {missing:?}");
        return eprintln!("SKIPPED: {missing:?} are not built; `cargo test --features full` builds them");
    }
    let builder = EmbeddedCluster::builder().with_registry().topic("orders", 3).topic("invoices", 3);
    let cluster = builder.start().await.expect("it starts");
    let (bootstrap, registry) = (cluster.bootstrap(), cluster.registry_url());
    for (name, argument, wanted, ends) in EXAMPLES {
        let argument = if *argument == "REGISTRY" { registry.as_str() } else { argument };
        let arguments: Vec<&str> = [bootstrap.as_str(), argument].into_iter().filter(|text| !text.is_empty()).collect();
        let text = tokio::task::block_in_place(|| output(name, &arguments, wanted, *ends));
        assert!(text.contains(wanted), "{name} does not say {wanted:?}:\n{text}");
    }
    cluster.shutdown().await;
}

#[test]
fn every_example_is_run_here() {
    let files = fs::read_dir("examples").expect("a folder").map(|entry| entry.expect("an entry").path());
    let there: BTreeSet<_> =
        files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    // This one is tests itself, which `cargo test` builds and runs.
    let tests = ["testing".to_owned()];
    let run: BTreeSet<_> = EXAMPLES.iter().map(|(name, ..)| (*name).to_owned()).chain(tests).collect();
    assert_eq!(there, run);
}
