//! A real nats-server on a free loopback port, in a directory of its own, for one test.
//!
//! `scripts/nats-servers DIR` installs the versions that the tests want; put `DIR/bin` on the `PATH`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Connection, Options};

/// Longest wait of a test for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);
/// Pause between two checks while waiting.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// A running server; killed when dropped.
pub(super) struct Server {
    child: Child,
    port: u16,
    directory: TempDir,
    program: &'static str,
    config: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Server {
    /// The current version. It syncs as it chooses: a killed server's writes survive it, and disks may be
    /// slow.
    pub(super) fn start() -> Self {
        Self::start_program("nats-server", "max_payload: 512KB")
    }

    /// One of the programs that `scripts/nats-servers` installs.
    pub(super) fn start_program(program: &'static str, settings: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let config = directory.path().join("nats.conf");
        let text = format!(
            "host: 127.0.0.1\n{settings}\njetstream {{ store_dir: {:?} }}\n",
            directory.path()
        );
        fs::write(&config, text).expect("write the configuration");
        Self::spawn(program, directory, config, Vec::new())
    }

    /// Three servers of the current version that form a cluster.
    pub(super) fn start_cluster() -> Vec<Self> {
        let ports: [u16; 3] = std::array::from_fn(|_| free_port());
        let routes = ports.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
        let start = |port| {
            let settings = format!(
                "server_name: node-{port}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}"
            );
            Self::start_program("nats-server", &settings)
        };
        ports.map(start).into()
    }

    /// The configuration that we ship, with these environment variables and `COUNTERSIGN_NATS_STORE`.
    pub(super) fn start_shipped(mut environment: Vec<(&'static str, String)>) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/nats.conf");
        environment.push(("COUNTERSIGN_NATS_STORE", format!("{:?}", directory.path())));
        Self::spawn("nats-server", directory, config, environment)
    }

    fn spawn(
        program: &'static str,
        directory: TempDir,
        config: PathBuf,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let port = free_port();
        let child = spawn(program, port, &config, &environment);
        let mut server = Self { child, port, directory, program, config, environment };
        server.wait();
        server
    }

    /// Kills it as `kill -9` does. The data stay.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Stops it from doing anything until [`Server::resume`].
    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let stopped = || {
            fs::read_dir(&tasks).expect("tasks").all(|task| {
                let stat = task.and_then(|task| fs::read_to_string(task.path().join("stat")));
                stat.is_ok_and(|stat| {
                    stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
                })
            })
        };
        let started = Instant::now();
        while !stopped() {
            assert!(started.elapsed() < DEADLINE, "the server does not stop");
            std::thread::sleep(PAUSE);
        }
    }

    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("our child");
    }

    /// Starts again on the same port and data after [`Server::kill`].
    pub(super) fn start_again(&mut self) {
        self.child = spawn(self.program, self.port, &self.config, &self.environment);
        self.wait();
    }

    pub(super) fn options(&self) -> Options {
        let url = format!("nats://127.0.0.1:{}", self.port);
        Options { url, request_timeout: DEADLINE / 2, ..Options::default() }
    }

    pub(super) async fn connect(&self) -> Connection {
        Connection::open(&self.options()).await.expect("connect")
    }

    /// A file in the server's directory, e.g. for a password.
    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("write a file");
        path
    }

    /// A connection that speaks the protocol directly, to send what no client library would.
    pub(super) fn raw(&self) -> Raw {
        Raw::connect(self.port)
    }

    fn wait(&mut self) {
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.try_wait().expect("our child");
            assert!(ended.is_none(), "{} on port {}: {ended:?}", self.program, self.port);
            assert!(started.elapsed() < DEADLINE, "{} did not start", self.program);
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already dead after `kill`: nothing to report from a destructor.
        if self.child.kill().is_ok() {
            self.child.wait().expect("wait");
        }
    }
}

fn spawn(
    program: &'static str,
    port: u16,
    config: &Path,
    environment: &[(&'static str, String)],
) -> Child {
    Command::new(program)
        .arg("-c")
        .arg(config)
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{program}: {error}. `scripts/nats-servers DIR` installs it; put DIR/bin on the PATH")
        })
}

/// A port below the range from which the system takes ports for outgoing connections: there, a client that
/// reconnects while its server is down could take the server's own port.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset =
            std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(20_000 + offset % 12_000).expect("below 32,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A hostile producer.
pub(super) struct Raw {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Raw {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("set a timeout");
        let lines = BufReader::new(stream.try_clone().expect("clone"));
        let mut raw = Self { stream, lines };
        raw.send(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n");
        raw
    }

    /// Publishes with any header block.
    pub(super) fn publish(&mut self, subject: &str, block: &[u8], body: &[u8]) {
        let total = block.len() + body.len();
        let line = format!("HPUB {subject} {} {total}\r\n", block.len());
        self.send(&[line.as_bytes(), block, body, b"\r\n"].concat());
    }

    /// Waits until the server has taken everything.
    pub(super) fn flush(&mut self) {
        self.send(b"PING\r\n");
        let mut line = String::new();
        while !line.starts_with("PONG") {
            line.clear();
            assert_ne!(
                self.lines.read_line(&mut line).expect("in time"),
                0,
                "closed by the server"
            );
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }
}
