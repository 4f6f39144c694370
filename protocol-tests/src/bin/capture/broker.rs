//! The broker of `compose/with-kafka`, started again behind relays.
//!
//! Rules this file keeps: the run's own files are changed and nothing else; what is set last in them holds.

use std::{
    env, fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use protocol_tests::{golden, recorder::Recorder};
use tokio::net::TcpListener;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A broker whose listeners are known by the addresses of relays.
#[derive(Debug)]
pub(crate) struct Broker {
    /// Kafka's version.
    pub(crate) version: String,
    /// `HOST:PORT` of the relay in front of PLAINTEXT.
    pub(crate) plain: String,
    /// The same of SASL_PLAINTEXT.
    pub(crate) sasl: String,
    /// The same of the controller's listener, where the broker is its own controller.
    pub(crate) controller: Option<String>,
    control: PathBuf,
}

impl Broker {
    /// Starts the broker again so that everybody meets it through relays, itself included.
    pub(crate) async fn behind(recorder: &Recorder, control: PathBuf) -> Outcome<Self> {
        let run = control.parent().ok_or("the control script is in no folder")?;
        let properties = fs::read_to_string(run.join("server.properties"))?;
        let relay = async |name: &'static str| -> Outcome<Option<String>> {
            let Some(address) = listener(&properties, name) else { return Ok(None) };
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let known_as = listener.local_addr()?.to_string();
            recorder.relay(name, listener, address);
            Ok(Some(known_as))
        };
        let broker = Self {
            version: env::var("MILENA_KAFKA_VERSION").or_else(|_| version(&run_variable(run, "KAFKA_JARS")?))?,
            plain: relay("PLAINTEXT").await?.ok_or("no listener PLAINTEXT")?,
            sasl: relay("SASL_PLAINTEXT").await?.ok_or("no listener SASL_PLAINTEXT")?,
            controller: relay("CONTROLLER").await?,
            control: control.clone(),
        };
        broker.control(&["stop"])?;
        append(&run.join("server.properties"), &broker.settings())?;
        if let Err(error) = broker.receive_telemetry(run) {
            println!("no telemetry: {}", error.to_string().lines().next().unwrap_or_default());
        }
        broker.control(&["start"])?;
        Ok(broker)
    }

    /// Runs the Java client's part and shows what it says.
    pub(crate) fn java_client(&self) -> Outcome<()> {
        let run = self.control.parent().unwrap_or(Path::new("."));
        let jars = env::var("MILENA_CLIENT_LIBS").or_else(|_| run_variable(run, "KAFKA_JARS"))?;
        let program = golden::folder().join("capture/Capture.java");
        let mut java = Command::new(run_variable(run, "JAVA")?);
        java.arg("-cp").arg(format!("{jars}/*")).arg(program).args([&self.plain, &self.sasl]);
        println!("{}", succeed(&mut java)?);
        Ok(())
    }

    fn settings(&self) -> String {
        let Self { plain, sasl, controller, .. } = self;
        let voters = controller.iter().map(|address| format!("controller.quorum.voters=1@{address}\n"));
        let voters: String = voters.collect();
        format!(
            "advertised.listeners=PLAINTEXT://{plain},SASL_PLAINTEXT://{sasl}\n\
             {voters}\
             delegation.token.secret.key=golden-secret\n\
             group.share.record.lock.duration.ms=15000\n\
             log.retention.check.interval.ms=3600000\n"
        )
    }

    /// A broker answers the requests of KIP-714 only with a plugin, which is compiled here and added to its jars.
    fn receive_telemetry(&self, run: &Path) -> Outcome<()> {
        let jars = PathBuf::from(run_variable(run, "KAFKA_JARS")?);
        let (classes, more) = (run.join("classes"), run.join("jars"));
        fs::create_dir_all(&more)?;
        for jar in fs::read_dir(&jars)? {
            let jar = jar?.path();
            std::os::unix::fs::symlink(&jar, more.join(jar.file_name().unwrap_or_default()))?;
        }
        let java = PathBuf::from(run_variable(run, "JAVA")?);
        let tool = |name: &str| fs::canonicalize(&java).map(|java| java.with_file_name(name));
        let source = golden::folder().join("capture/GoldenTelemetry.java");
        let class_path = format!("{}/*", jars.display());
        succeed(Command::new(tool("javac")?).args(["-nowarn", "-cp", &class_path, "-d"]).arg(&classes).arg(source))?;
        succeed(Command::new(tool("jar")?).arg("cf").arg(more.join("golden.jar")).arg("-C").arg(&classes).arg("."))?;
        append(&run.join("server.properties"), "metric.reporters=GoldenTelemetry\n")?;
        // Another class path would spoil the archive of classes that other runs use.
        let archive = run.join("none.jsa");
        append(&run.join("env"), &format!("KAFKA_JARS={}\nARCHIVE={}\n", more.display(), archive.display()))?;
        Ok(())
    }

    fn control(&self, arguments: &[&str]) -> Outcome<String> {
        Ok(succeed(Command::new(&self.control).args(arguments))?)
    }
}

/// What a variable of the run's `env` is, without the shell's quotes.
fn run_variable(run: &Path, name: &str) -> Result<String, String> {
    let text = fs::read_to_string(run.join("env")).map_err(|error| error.to_string())?;
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next_back().ok_or_else(|| format!("the run has no {name}"))?;
    Ok(value.replace('\\', "").trim_matches('\'').to_string())
}

/// `HOST:PORT` of a listener in a property file.
fn listener(properties: &str, name: &str) -> Option<String> {
    let listeners = properties.lines().find_map(|line| line.strip_prefix("listeners="))?;
    listeners.split(',').find_map(|one| Some(one.strip_prefix(name)?.strip_prefix("://")?.to_string()))
}

/// The version in the name of the jar of kafka-clients.
fn version(jars: &str) -> Result<String, String> {
    let entries = fs::read_dir(jars).map_err(|error| format!("{jars}: {error}"))?;
    let names = entries.filter_map(|jar| Some(jar.ok()?.file_name().to_string_lossy().into_owned()));
    let mut versions = names.filter_map(|name| Some(name.strip_prefix("kafka-clients-")?.strip_suffix(".jar")?.into()));
    versions.next().ok_or_else(|| format!("{jars} has no kafka-clients"))
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().append(true).open(path)?.write_all(format!("\n{text}").as_bytes())
}

fn succeed(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(format!("{command:?}: {said}")) }
}
