//! `countersign demo`: shows everything in a new directory, with the real commands and a real server.

mod approval;
mod evidence;
mod policy;
mod siem;
mod stage;
mod stories;

use super::{EXIT_FAILED, EXIT_UNAVAILABLE, Failed, terminate};
use crate::{
    cli::Demo,
    client::{self, Client},
    terminal::{dim, good, harmless, say, strong},
};
use ledger::atomic;
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Thirty decisions: payments, health, deployments, egress. All verdicts, and agents that call agents.
const EVENTS: &str = include_str!("../../../../proto/examples/events.ndjson");
/// Longest wait for the server.
const START_WAIT: Duration = Duration::from_secs(20);
/// The decision whose receipt is shown: the first one with this verdict.
const SHOWN_VERDICT: &str = "deny";

/// A running server that ends with the demo.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // The server drains its requests, then the wait reaps it.
        let _ = terminate(&self.0);
        let _ = self.0.wait();
    }
}

/// Runs the demo.
pub fn run(arguments: &Demo) -> Result<(), Failed> {
    let dir = match &arguments.dir {
        Some(dir) => empty(dir)?,
        None => super::fresh_folder(&std::env::temp_dir(), "countersign-demo-")?,
    };
    let dir = dir.canonicalize()?;
    let port = if arguments.port == 0 { free_port()? } else { arguments.port };
    let url = format!("http://127.0.0.1:{port}");
    let config = dir.join("countersign.toml");
    write_config(&dir, &config, port, &url)?;

    say(&strong("1. A log of its own for the tenant acme"));
    let made =
        ours(&["init", "--tenant", "acme", "--json", "--config", &config.to_string_lossy()])?;
    let made: Value = serde_json::from_str(&made).unwrap_or_default();
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    atomic::create(&dir.join("log.vkey"), text("vkey").as_bytes())?;
    atomic::create(&dir.join("admin.key"), text("admin_key").as_bytes())?;
    say(&format!("   log         {}", text("origin")));
    say(&format!("   public key  {}", text("vkey")));

    let server = start(&config, &dir, &url)?;
    let admin = Client::of_ours(&url, &dir.join("admin.key"))?;
    add_keys(&admin, &dir)?;
    let gateway = Client::of_ours(&url, &dir.join("gateway.key"))?;

    say(&strong("\n2. A gateway publishes its decisions; each answer comes after the fsync"));
    let index = publish(&gateway)?;

    say(&strong("\n3. The signed checkpoint commits to all of them"));
    let checkpoint = admin.get("/v1/tenants/acme/logs/1/checkpoint")?;
    for line in String::from_utf8_lossy(&checkpoint).lines() {
        say(&format!("   {}", dim(line)));
    }
    prove(&admin, &Client::of_ours(&url, &dir.join("auditor.key"))?, &dir, index)?;
    let person = Client::of_ours(&url, &dir.join("ana.key"))?;
    let (admin, gateway, person) = (&admin, &gateway, &person);
    let stage = stage::Stage { dir: &dir, url: &url, admin, gateway, person };
    approval::tell(&stage, arguments.once)?;
    evidence::tell(&url, &dir)?;
    siem::tell(&stage, &config, &server.0)?;
    if arguments.once {
        drop(server);
        return Ok(());
    }
    stay(server, &url, &dir)
}

/// Makes a key for each party, each in its own file.
fn add_keys(admin: &Client, dir: &Path) -> Result<(), Failed> {
    for (file, key) in [
        (
            "gateway.key",
            json!({"roles": ["publisher", "enforcer"], "producer": "gw-1", "name": "the gateway"}),
        ),
        ("auditor.key", json!({"roles": ["auditor", "discloser"], "name": "the auditor"})),
        ("ana.key", json!({"roles": ["reviewer"], "person": "p-ana", "name": "Ana Lima"})),
        ("bob.key", json!({"roles": ["author"], "person": "p-bob", "name": "Bob Ito"})),
    ] {
        let answer = admin.post_json("/v1/tenants/acme/keys", &key)?;
        let text = answer["key"].as_str().unwrap_or_default();
        atomic::create(&dir.join(file), text.as_bytes())?;
    }
    Ok(())
}

/// Checks that a call is refused with this code.
fn refused(answer: Result<Value, client::Error>, code: &str) -> Result<(), Failed> {
    match answer {
        Err(client::Error::Refused { code: given, .. }) if given == code => Ok(()),
        Err(other) => Err(other.into()),
        Ok(_) => Err(Failed::new(EXIT_FAILED, format!("not refused as {code}: this is a defect"))),
    }
}

/// Shows a receipt, verified with the public key alone, and again with one byte changed.
fn prove(admin: &Client, auditor: &Client, dir: &Path, index: u64) -> Result<(), Failed> {
    say(&strong(
        "\n4. An auditor gets one receipt, and checks it offline with the public key alone",
    ));
    let receipt = admin.get(&format!("/v1/tenants/acme/receipts?index={index}"))?;
    let disclosures = auditor.get(&format!("/v1/tenants/acme/entries/{index}/disclosures"))?;
    let (path, shown) = (dir.join("receipt.tlog-proof"), dir.join("receipt.disclosures"));
    atomic::create(&path, &receipt)?;
    atomic::create(&shown, &disclosures)?;
    let (key, path, shown) = (
        dir.join("log.vkey").to_string_lossy().into_owned(),
        path.to_string_lossy().into_owned(),
        shown.to_string_lossy().into_owned(),
    );
    say(&dim(&format!("   $ countersign verify --key {key} --disclosures {shown} {path}")));
    let told = ours(&["verify", "--key", &key, "--disclosures", &shown, &path])?;
    told.lines().for_each(|line| say(&format!("   {line}")));

    say(&strong("\n5. Somebody changes one byte of it"));
    let mut forged = receipt;
    // This byte is in the entry, on the line that begins with `extra `.
    forged[100] = if forged[100] == b'A' { b'B' } else { b'A' };
    let forged_path = dir.join("forged.tlog-proof");
    atomic::create(&forged_path, &forged)?;
    let forged_path = forged_path.to_string_lossy().into_owned();
    say(&dim(&format!("   $ countersign verify --key {key} {forged_path}")));
    let output = Command::new(std::env::current_exe()?)
        .args(["verify", "--key", &key, &forged_path])
        .output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    told.lines().for_each(|line| say(&format!("   {line}")));
    if output.status.code() == Some(1) {
        say(&good("\nThe change was found. Nothing but the public key was needed."));
        Ok(())
    } else {
        Err(Failed::new(EXIT_FAILED, "the forged receipt was not refused: this is a defect"))
    }
}

fn publish(gateway: &Client) -> Result<u64, Failed> {
    let path = "/v1/tenants/acme/events";
    let answer = gateway.post_events(path, "application/x-ndjson", EVENTS.as_bytes())?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    let mut shown = None;
    for (line, result) in EVENTS.lines().zip(&results) {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        let data = &event["data"];
        let text = |value: &Value| harmless(value.as_str().unwrap_or("-"));
        // `dev.countersign.heartbeat.v1` has no verdict, so show the type.
        let kind = event["type"].as_str().and_then(|kind| kind.rsplit('.').nth(1)).unwrap_or("-");
        let verdict = data["verdict"].as_str().unwrap_or(kind);
        if result["status"] != "posted" {
            let text = format!("event {} was not posted: {result}", event["id"]);
            return Err(Failed::new(EXIT_FAILED, text));
        }
        say(&format!(
            "   entry {:>3}  {:<16} {:<18} {}/{}",
            result["index"].as_u64().unwrap_or(0),
            harmless(verdict),
            text(&data["agent"]["id"]),
            text(&data["tool"]["name"]),
            text(&data["tool"]["action"]),
        ));
        if data["verdict"] == SHOWN_VERDICT && shown.is_none() {
            shown = result["index"].as_u64();
        }
    }
    shown.ok_or_else(|| Failed::new(EXIT_FAILED, "no decision to show"))
}

fn stay(mut server: Server, url: &str, dir: &Path) -> Result<(), Failed> {
    say(&format!("\nThe server stays up at {}; end it with Ctrl-C.", strong(url)));
    say(&format!("Keys and files are in {}. Try:", dir.display()));
    say(&dim(&format!(
        "  curl -s -H \"Authorization: Bearer $(cat {0}/admin.key)\" '{url}/v1/tenants/acme/entries?limit=3'",
        dir.display()
    )));
    let ended = server.0.wait()?;
    if ended.success() { Ok(()) } else { Err(Failed::new(EXIT_FAILED, "the server ended")) }
}

/// Runs one of our commands. Returns its output.
fn ours(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failed::new(EXIT_FAILED, format!("`countersign {}` failed: {text}", arguments.join(" "))))
}

fn start(config: &Path, dir: &Path, url: &str) -> Result<Server, Failed> {
    let log = atomic::create_open(&dir.join("server.log"))?;
    let child = Command::new(std::env::current_exe()?)
        .args(["serve", "--config", &config.to_string_lossy()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let mut server = Server(child);
    let key = dir.join("admin.key");
    let begin = Instant::now();
    while Client::of_ours(url, &key)?.get("/readyz").is_err() {
        if begin.elapsed() > START_WAIT || server.0.try_wait()?.is_some() {
            let log = fs::read_to_string(dir.join("server.log")).unwrap_or_default();
            return Err(Failed::new(EXIT_UNAVAILABLE, format!("the server did not start:\n{log}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

fn free_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// An empty folder, so that the demo overwrites no files.
fn empty(dir: &Path) -> Result<PathBuf, Failed> {
    atomic::make_folder(dir)?;
    if fs::read_dir(dir)?.next().is_some() {
        let text = format!(
            "{}: not empty; the demo takes a new directory, or an empty one",
            dir.display()
        );
        return Err(Failed::new(EXIT_FAILED, text));
    }
    Ok(dir.to_owned())
}

/// Adds a section to the configuration.
fn append(config: &Path, section: &str) -> Result<(), Failed> {
    Ok(atomic::replace(config, (fs::read_to_string(config)? + section).as_bytes())?)
}

fn write_config(dir: &Path, path: &Path, port: u16, url: &str) -> Result<(), Failed> {
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let text = format!(
        "data_dir = {:?}\nkeys_dir = {:?}\nguard_path = {:?}\nbackup_dir = {:?}\nlisten = \"127.0.0.1:{port}\"\n\
         public_url = {url:?}\n[approvals]\ndir = {:?}\n",
        at("data"),
        at("keys"),
        at("guard/guard"),
        at("backups"),
        at("approvals"),
    );
    approval::write_files(dir)?;
    Ok(atomic::create(path, text.as_bytes())?)
}
