//! A server of the bench, in its own directory, as a child process.

use super::super::{EXIT_FAILED, EXIT_UNAVAILABLE, Failed, terminate};
use ledger::atomic;
use serde_json::Value;
use std::{
    cell::RefCell,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Longest wait for the server.
const START_WAIT: Duration = Duration::from_secs(120);
/// Clock ticks a second of `/proc/<pid>/stat`: 100 on every Linux.
const TICKS: f64 = 100.0;
/// Time between two looks at the memory of a command. The kernel keeps its peak.
const PEAK_PAUSE: Duration = Duration::from_millis(20);

/// A running server.
pub struct Site {
    dir: PathBuf,
    child: RefCell<Child>,
    /// Listening address.
    pub address: SocketAddr,
    /// Time from the start of the process to the first answer.
    pub started_in: Duration,
    /// A publisher's key.
    pub publisher: String,
    /// An admin's key.
    pub admin: String,
}

/// A command of ours that ended.
pub struct Timed {
    /// How long it took.
    pub seconds: f64,
    /// Most resident memory, in MiB.
    pub peak_mib: u64,
    /// What it said, as JSON.
    pub told: Value,
}

impl Site {
    /// Starts a server. An existing directory is used again. `sections` are added to the default
    /// configuration.
    pub async fn start(
        dir: &Path,
        record: Option<&Path>,
        sections: Option<&str>,
    ) -> Result<Self, Failed> {
        atomic::make_folder(dir)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = dir.join("countersign.toml");
        let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let text = format!(
            "data_dir = {:?}\nkeys_dir = {:?}\nguard_path = {:?}\nlisten = \"{address}\"\npublic_url = \
             \"http://bench.example\"\n{}",
            at("data"),
            at("keys"),
            at("guard/guard"),
            sections.unwrap_or(""),
        );
        atomic::replace(&config, text.as_bytes())?;
        if !dir.join("admin.key").exists() {
            let made = ours(&[
                "init",
                "--tenant",
                "bench",
                "--json",
                "--config",
                &at("countersign.toml"),
            ])?;
            let made: Value = serde_json::from_str(&made).unwrap_or_default();
            for (file, key) in [("admin.key", "admin_key"), ("operator.key", "operator_key")] {
                let text = made[key].as_str().unwrap_or_default();
                atomic::replace(&dir.join(file), text.as_bytes())?;
            }
        }
        let begin = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--config", &at("countersign.toml")]);
        if let Some(record) = record {
            command.arg("--record").arg(record);
        }
        atomic::replace(&dir.join("server.log"), b"")?;
        let log = fs::File::options().append(true).open(dir.join("server.log"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        while TcpStream::connect(address).is_err() {
            if begin.elapsed() > START_WAIT {
                return Err(Failed::new(
                    EXIT_UNAVAILABLE,
                    "the server did not start; see server.log",
                ));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let started_in = begin.elapsed();
        let admin = fs::read_to_string(dir.join("admin.key"))?;
        let mut site = Self {
            dir: dir.to_owned(),
            child: RefCell::new(child),
            address,
            started_in,
            publisher: String::new(),
            admin,
        };
        site.publisher = site.publisher_key()?;
        Ok(site)
    }

    fn publisher_key(&self) -> Result<String, Failed> {
        let roles = ["--role", "publisher", "--role", "enforcer", "--producer", "gw-1"];
        self.key("publisher.key", &roles)
    }

    /// An API key from a file. If there is no file, `countersign key add` makes the key with these arguments.
    pub fn key(&self, file: &str, arguments: &[&str]) -> Result<String, Failed> {
        let path = self.dir.join(file);
        if !path.exists() {
            let at = self.remote();
            let add =
                ["key", "add", "--tenant", "bench", "--server", &at.0, "--api-key-file", &at.1];
            atomic::replace(&path, ours(&[&add[..], arguments].concat())?.trim().as_bytes())?;
        }
        Ok(fs::read_to_string(path)?.trim().to_owned())
    }

    /// `countersign rules apply`
    pub fn apply_rules(&self) -> Result<(), Failed> {
        let (at, config) = (self.remote(), self.config());
        let config = config.to_string_lossy();
        let apply = ["rules", "apply", "--tenant", "bench", "--config", &config];
        ours(&[&apply[..], &["--server", &at.0, "--api-key-file", &at.1]].concat()).map(|_| ())
    }

    /// `countersign policy propose`, with the author's key; waits until they are in force.
    pub fn put_policies_in_force(&self, folder: &Path) -> Result<(), Failed> {
        let (at, author) = (self.remote().0, self.dir.join("author.key"));
        let (author, folder) = (author.to_string_lossy(), folder.to_string_lossy());
        let propose = [
            "policy",
            "propose",
            "--tenant",
            "bench",
            "--comment",
            "The bench's policies.",
            "--wait",
        ];
        ours(&[&propose[..], &["--server", &at, "--api-key-file", &author, &folder]].concat())
            .map(|_| ())
    }

    /// Runs a command of ours, and measures it.
    pub fn timed(&self, arguments: &[&str]) -> Result<Timed, Failed> {
        let (said, wrong) = (self.dir.join("timed.out"), self.dir.join("timed.err"));
        for file in [&said, &wrong] {
            atomic::replace(file, b"")?;
        }
        let append = |path: &Path| fs::File::options().append(true).open(path);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::null());
        let begin = Instant::now();
        let mut child = command.stdout(append(&said)?).stderr(append(&wrong)?).spawn()?;
        let mut peak_mib = 0;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            peak_mib = peak_mib.max(memory_mib(child.id(), "VmHWM:"));
            std::thread::sleep(PEAK_PAUSE);
        };
        let seconds = begin.elapsed().as_secs_f64();
        if !status.success() {
            let text = fs::read_to_string(wrong)?;
            return Err(Failed::new(EXIT_FAILED, format!("{}: {text}", arguments.join(" "))));
        }
        let told = serde_json::from_slice(&fs::read(said)?).unwrap_or_default();
        Ok(Timed { seconds, peak_mib, told })
    }

    /// Base URL, and the admin's key file.
    pub fn remote(&self) -> (String, String) {
        let key = self.dir.join("admin.key").to_string_lossy().into_owned();
        (format!("http://{}", self.address), key)
    }

    /// The operator's key.
    pub fn operator(&self) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.dir.join("operator.key"))?)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("countersign.toml")
    }

    /// CPU seconds that the server has used.
    pub fn cpu(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.child.borrow().id());
        let stat = fs::read_to_string(path).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or("");
        let field =
            |n: usize| after_name.split_whitespace().nth(n).and_then(|t| t.parse::<f64>().ok());
        (field(11).unwrap_or(0.0) + field(12).unwrap_or(0.0)) / TICKS
    }

    /// Resident memory of the server, in MiB.
    pub fn resident_mib(&self) -> u64 {
        memory_mib(self.child.borrow().id(), "VmRSS:")
    }

    /// Bytes of all files of the database.
    pub fn disk_bytes(&self) -> Result<u64, Failed> {
        let mut bytes = 0;
        for file in fs::read_dir(self.dir.join("data"))? {
            bytes += file?.metadata()?.len();
        }
        Ok(bytes)
    }

    /// Stops the server and waits for its end.
    pub fn stop(&self) -> Result<(), Failed> {
        let mut child = self.child.borrow_mut();
        terminate(&child)?;
        child.wait()?;
        Ok(())
    }

    /// Copies the folder of a stopped server. Returns where the copy is.
    pub fn copy(from: &Path, to: &Path) -> Result<PathBuf, Failed> {
        atomic::make_folder(to)?;
        for file in fs::read_dir(from)? {
            let file = file?;
            let place = to.join(file.file_name());
            if file.file_type()?.is_dir() {
                Self::copy(&file.path(), &place)?;
            } else {
                fs::copy(file.path(), place)?;
            }
        }
        Ok(to.to_owned())
    }

    /// Removes the folder of the stopped server.
    pub fn remove(&self) -> Result<(), Failed> {
        Ok(fs::remove_dir_all(&self.dir)?)
    }

    /// Runs `fsck` on the stopped server. Returns its speed, and the speed of hashing alone.
    pub fn fsck(&self) -> Result<String, Failed> {
        let config = self.dir.join("countersign.toml").to_string_lossy().into_owned();
        let begin = Instant::now();
        let told = ours(&["fsck", "--json", "--config", &config])?;
        let seconds = begin.elapsed().as_secs_f64();
        let told: Value = serde_json::from_str(&told).unwrap_or_default();
        let entries = told["logs"][0]["log"]["entries"].as_u64().unwrap_or(0);
        let bytes = vec![7; 700];
        let (hashed, begin) = (500_000_u32, Instant::now());
        let mut edge = ledger::log::merkle::Edge::default();
        for _ in 0..hashed {
            edge.append(ledger::log::merkle::leaf_hash(&bytes), &mut Vec::new());
        }
        let hashing = f64::from(hashed) / begin.elapsed().as_secs_f64();
        Ok(format!(
            "sound: {}, {entries} entries, {:.0}/s with every index; hashing part alone {hashing:.0} leaves/s of 700 bytes \
             (asked: 500000)",
            told["sound"],
            entries as f64 / seconds,
        ))
    }
}

/// One line about memory of `/proc/<pid>/status`, in MiB; 0 if the process has ended.
fn memory_mib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

impl Drop for Site {
    fn drop(&mut self) {
        let mut child = self.child.borrow_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn ours(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failed::new(EXIT_UNAVAILABLE, format!("{}: {text}", arguments.join(" "))))
}
