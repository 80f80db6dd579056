//! A real nats-server on a free loopback port, in a directory of its own, for one test.
//!
//! `scripts/nats-servers DIR` installs the versions that the tests want; put `DIR/bin` on the `PATH`.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Connection, Options};

/// How long a test waits for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A running server; killed when dropped.
pub(super) struct Server {
    program: &'static str,
    child: Child,
    pub(super) port: u16,
    pub(super) directory: TempDir,
    config: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Server {
    /// The current version, with the settings that the promises want.
    pub(super) fn start() -> Self {
        Self::start_program("nats-server")
    }

    pub(super) fn start_program(program: &'static str) -> Self {
        Self::start_with(program, Vec::new(), |directory, port| {
            format!(
                "listen: \"127.0.0.1:{port}\"\n\
                 max_payload: 512KB\n\
                 jetstream {{ store_dir: {directory:?}, sync_interval: always }}\n"
            )
        })
    }

    /// `config` gets the directory to store in and the port to listen on.
    pub(super) fn start_with(
        program: &'static str,
        environment: Vec<(&'static str, String)>,
        config: impl Fn(&str, u16) -> String,
    ) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let port = free_port();
        let path = directory.path().join("nats.conf");
        fs::write(&path, config(directory.path().to_str().expect("UTF-8"), port)).expect("config");
        let child = spawn(program, &path, &environment);
        let server = Self { program, child, port, directory, config: path, environment };
        server.wait();
        server
    }

    /// As by `kill -9`; the data stay.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Starts again on the same port and data after [`Server::kill`].
    pub(super) fn start_again(&mut self) {
        self.child = spawn(self.program, &self.config, &self.environment);
        self.wait();
    }

    pub(super) fn options(&self) -> Options {
        Options { url: format!("nats://127.0.0.1:{}", self.port), ..Options::default() }
    }

    pub(super) async fn connect(&self) -> Connection {
        Connection::open(&self.options()).await.expect("connect")
    }

    fn wait(&self) {
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(started.elapsed() < DEADLINE, "{} did not start", self.program);
            std::thread::yield_now();
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
    config: &std::path::Path,
    environment: &[(&'static str, String)],
) -> Child {
    Command::new(program)
        .arg("-c")
        .arg(config)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{program}: {error}. `scripts/nats-servers DIR` installs it; put DIR/bin on the PATH")
        })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}
