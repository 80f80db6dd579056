//! The end of the demo: the same story, as it arrived in a SIEM. The SIEM here is a collector that keeps what comes.

use super::{
    EXIT_FAILED, Failed, append, dim, good, harmless, ours, say,
    stage::{Stage, TENANT},
    strong,
};
use data_encoding::BASE64;
use ledger::{atomic, keyring::random32};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Child,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Name of the sink, and of the file with its secret.
const SINK: &str = "siem";
/// Longest wait for what is on its way.
const ARRIVE_WAIT: Duration = Duration::from_secs(30);
/// Pause between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Most bytes that it takes at once: more than a batch has.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// A collector on this machine.
struct Siem {
    url: String,
    records: Arc<Mutex<Vec<Value>>>,
}

impl Siem {
    /// Listens until the demo ends.
    fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let records = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&records);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                // A connection ends with the server that opened it.
                std::thread::spawn(move || drop(take(stream, &kept)));
            }
        });
        Ok(Self { url, records })
    }

    /// The section of the configuration that has everything sent here. Makes its secret in `dir`.
    fn section(&self, dir: &Path) -> Result<String, Failed> {
        let secret = dir.join(format!("{SINK}.secret"));
        let text = format!("whsec_{}", BASE64.encode(random32().as_slice()));
        atomic::create(&secret, text.as_bytes())?;
        Ok(format!(
            "\n[sink.{SINK}]\ntenant = \"acme\"\nkind = \"http\"\nformat = \"ocsf\"\nurl = {:?}\nsecret_file = {:?}\n",
            self.url,
            secret.to_string_lossy()
        ))
    }

    /// Entries by index, each once; and the ranges that batches say they cover.
    fn arrived(&self) -> (Vec<Value>, Vec<(u64, u64)>) {
        let records = self.records.lock().expect("no holder of the lock panics");
        let mut entries = std::collections::BTreeMap::new();
        let mut ranges = Vec::new();
        for record in records.iter() {
            let said = &record["unmapped"]["countersign"];
            if let (Some(from), Some(to)) =
                (said["batch"]["from"].as_u64(), said["batch"]["to"].as_u64())
            {
                ranges.push((from, to));
            }
            if let Some(index) = said["index"].as_u64() {
                entries.insert(index, record.clone());
            }
        }
        (entries.into_values().collect(), ranges)
    }
}

/// Takes batches of one connection.
fn take(stream: TcpStream, kept: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut answers = stream.try_clone()?;
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0_u64, String::new());
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(std::io::Error::other)?;
            }
            if line.trim_end().is_empty() {
                break;
            }
        }
        let mut body = String::new();
        stream.by_ref().take(length.min(BODY_BYTES_MAX)).read_to_string(&mut body)?;
        let records = body.lines().filter_map(|line| serde_json::from_str(line).ok());
        kept.lock().expect("no holder of the lock panics").extend(records);
        answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}

/// Adds a sink to the running server, proves the way with one command, shows what arrived of the story, and that nothing of it
/// is missing.
pub fn tell(stage: &Stage<'_>, config: &Path, server: &Child) -> Result<(), Failed> {
    say(&strong(
        "\n10. A SIEM is named in the configuration, and gets the same story (OCSF 1.8.0)",
    ));
    let siem = Siem::start()?;
    append(config, &siem.section(stage.dir)?)?;
    kill_process(Pid::from_child(server), Signal::HUP).map_err(std::io::Error::from)?;
    let size = level(stage)?;
    let key = stage.dir.join("admin.key").to_string_lossy().into_owned();
    say(&dim(&format!("   $ countersign sink test --tenant acme --api-key-file {key} {SINK}")));
    let place = ["--server", stage.url, "--tenant", "acme", "--api-key-file", &key];
    let told = ours(&[&["sink", "test"], place.as_slice(), &[SINK]].concat())?;
    told.lines().for_each(|line| say(&format!("   {line}")));
    let (entries, mut ranges) = siem.arrived();
    for record in &entries {
        let said = &record["unmapped"]["countersign"];
        let (kind, status) = (&said["kind"], &record["status"]);
        if kind == "approval" || (kind == "decision" && record["status_detail"].is_string()) {
            let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
            let detail =
                if kind == "approval" { &said["event"]["events"][0]["type"] } else { status };
            say(&format!(
                "   entry {:>3}  {:<9} {:<28} {}",
                said["index"].as_u64().unwrap_or_default(),
                text(kind),
                text(&record["api"]["operation"]),
                text(detail)
            ));
        }
    }
    ranges.sort_unstable();
    let covered =
        ranges.iter().fold(0, |end, (from, to)| if *from <= end { end.max(*to) } else { end });
    if covered < size || (entries.len() as u64) < size {
        let text = format!("{} of {size} entries are there: this is a defect", entries.len());
        return Err(Failed::new(EXIT_FAILED, text));
    }
    say(&good(&format!(
        "\nAll {size} entries are there. Each batch says what it covers ({} arrived), and between them nothing is missing.",
        ranges.len()
    )));
    Ok(())
}

/// Waits until everything that is in the log now was sent. Returns so many entries.
fn level(stage: &Stage<'_>) -> Result<u64, Failed> {
    let begin = Instant::now();
    let read = || -> Result<Value, Failed> {
        let bytes = stage.admin.get(&format!("{TENANT}/sinks"))?;
        // None at first: the server reads its configuration again.
        let told = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
        Ok(told.pointer("/sinks/0").cloned().unwrap_or_default())
    };
    let mut size = None;
    while begin.elapsed() < ARRIVE_WAIT {
        let now = read()?;
        if let (Some(from), Some(lag)) = (now["from"].as_u64(), now["lag"]["entries"].as_u64()) {
            let size = *size.get_or_insert(from + lag);
            if from >= size {
                return Ok(size);
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(Failed::new(EXIT_FAILED, "the sink does not send: this is a defect"))
}
