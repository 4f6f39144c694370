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
    /// The same of the controller's listener.
    pub(crate) controller: String,
    control: PathBuf,
}

impl Broker {
    /// Starts the broker again so that everybody meets it through relays, itself included.
    pub(crate) async fn behind(recorder: &Recorder, control: PathBuf) -> Outcome<Self> {
        let run = control.parent().ok_or("the control script is in no folder")?;
        let properties = fs::read_to_string(run.join("server.properties"))?;
        let mut relays = Vec::new();
        for name in ["PLAINTEXT", "SASL_PLAINTEXT", "CONTROLLER"] {
            let address = listener(&properties, name).ok_or_else(|| format!("no listener {name}"))?;
            let relay = TcpListener::bind("127.0.0.1:0").await?;
            relays.push(relay.local_addr()?.to_string());
            recorder.relay(name, relay, address);
        }
        let [plain, sasl, controller] = <[String; 3]>::try_from(relays).map_err(|_| "three relays")?;
        let version = version(&run_variable(run, "KAFKA_JARS").ok_or("the run names no jars")?)?;
        let broker = Self { version, plain, sasl, controller, control: control.clone() };
        broker.control(&["stop"])?;
        append(&run.join("server.properties"), &broker.settings())?;
        broker.receive_telemetry(run)?;
        broker.control(&["start"])?;
        Ok(broker)
    }

    /// Runs the Java client's part and shows what it says.
    pub(crate) fn java_client(&self) -> Outcome<()> {
        let program = golden::folder().join("capture/Capture.java");
        println!("{}", self.control(&["tool", &program.to_string_lossy(), &self.plain, &self.sasl])?);
        Ok(())
    }

    fn settings(&self) -> String {
        let Self { plain, sasl, controller, .. } = self;
        format!(
            "advertised.listeners=PLAINTEXT://{plain},SASL_PLAINTEXT://{sasl}\n\
             controller.quorum.voters=1@{controller}\n\
             delegation.token.secret.key=golden-secret\n\
             group.share.record.lock.duration.ms=15000\n\
             log.retention.check.interval.ms=3600000\n"
        )
    }

    /// A broker answers the requests of KIP-714 only with a plugin, which is compiled here and added to its jars.
    fn receive_telemetry(&self, run: &Path) -> Outcome<()> {
        let jars = PathBuf::from(run_variable(run, "KAFKA_JARS").ok_or("the run names no jars")?);
        let (classes, more) = (run.join("classes"), run.join("jars"));
        fs::create_dir_all(&more)?;
        for jar in fs::read_dir(&jars)? {
            let jar = jar?.path();
            std::os::unix::fs::symlink(&jar, more.join(jar.file_name().unwrap_or_default()))?;
        }
        let java = PathBuf::from(run_variable(run, "JAVA").ok_or("the run names no Java")?);
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
fn run_variable(run: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(run.join("env")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.replace('\\', "").trim_matches('\'').to_string())
}

/// `HOST:PORT` of a listener in a property file.
fn listener(properties: &str, name: &str) -> Option<String> {
    let listeners = properties.lines().find_map(|line| line.strip_prefix("listeners="))?;
    listeners.split(',').find_map(|one| Some(one.strip_prefix(name)?.strip_prefix("://")?.to_string()))
}

/// The version in the name of the jar of kafka-clients; `MILENA_GOLDEN_VERSION` where the jars say another.
fn version(jars: &str) -> Outcome<String> {
    if let Ok(version) = env::var("MILENA_GOLDEN_VERSION") {
        return Ok(version);
    }
    for jar in fs::read_dir(jars)? {
        let name = jar?.file_name().to_string_lossy().into_owned();
        if let Some(version) = name.strip_prefix("kafka-clients-").and_then(|rest| rest.strip_suffix(".jar")) {
            return Ok(version.to_string());
        }
    }
    Err("there is no jar of kafka-clients".into())
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().append(true).open(path)?.write_all(format!("\n{text}").as_bytes())
}

fn succeed(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(format!("{command:?}: {said}")) }
}
