//! `countersign publish`: NDJSON from a file or a pipe, in batches, with progress and resume.

use super::Failed;
use crate::{
    cli::Publish,
    client::Client,
    terminal::{bad, harmless, say, warn},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    path::Path,
};

/// Longest line, in bytes: an event has at most 256 KiB.
const LINE_BYTES_MAX: u64 = 512 << 10;
/// A request ends with the event that reaches this size; the server takes 8 MiB.
const REQUEST_BYTES: usize = 7 << 20;
/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// Publishes every line; exits 1 if any was rejected or in conflict.
pub fn run(arguments: &Publish) -> Result<(), Failed> {
    if !(1..=1000).contains(&arguments.batch) {
        return Err(Failed::new(2, "--batch: 1 to 1000"));
    }
    let client = Client::new(&arguments.remote)?;
    let mut done = arguments.resume.as_deref().map_or(Ok(0), read_resume)?;
    let (input, bar): (Box<dyn Read>, ProgressBar) = if arguments.file == Path::new("-") {
        (Box::new(std::io::stdin()), ProgressBar::new_spinner())
    } else {
        let file = File::open(&arguments.file)
            .map_err(|e| Failed::new(3, format!("{}: {e}", arguments.file.display())))?;
        let bar = ProgressBar::new(file.metadata()?.len());
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg} eta {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        (Box::new(file), bar)
    };
    let is_pipe = arguments.file == Path::new("-");
    let reader = BufReader::with_capacity(READ_BYTES, input);
    let mut lines = Lines { reader, is_pipe, number: 0, bytes: 0 };
    for _ in 0..done {
        lines.next()?;
    }
    let mut tally = Tally::default();
    loop {
        let batch = lines.batch(arguments.batch)?;
        if batch.is_empty() {
            break;
        }
        let path = format!("/v1/tenants/{}/events", arguments.tenant);
        let (numbers, events): (Vec<u64>, Vec<Vec<u8>>) = batch.into_iter().unzip();
        let answer = client.post(&path, "application/x-ndjson", &events.join(&b'\n'))?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        tally.add(&answer, &numbers, arguments.json, &bar);
        done = lines.number;
        if let Some(path) = &arguments.resume {
            write_resume(path, done)?;
        }
        bar.set_position(lines.bytes);
        bar.set_message(tally.to_string());
    }
    bar.finish_and_clear();
    if !arguments.json {
        say(&tally.to_string());
    }
    if tally.rejected + tally.conflict > 0 {
        return Err(Failed::new(
            super::EXIT_FAILED,
            "not every event was posted; see the lines above",
        ));
    }
    Ok(())
}

/// How many lines an earlier run published.
fn read_resume(path: &Path) -> Result<u64, Failed> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            Failed::new(
                3,
                format!("{}: not a number of lines; remove it to begin anew", path.display()),
            )
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(Failed::new(3, format!("{}: {e}", path.display()))),
    }
}

/// Replaced whole: a crash leaves the old number or the new one, and repeating lines is harmless.
fn write_resume(path: &Path, lines: u64) -> Result<(), Failed> {
    let new = path.with_extension("new");
    std::fs::write(&new, format!("{lines}\n"))?;
    Ok(std::fs::rename(new, path)?)
}

struct Lines {
    reader: BufReader<Box<dyn Read>>,
    is_pipe: bool,
    number: u64,
    bytes: u64,
}

impl Lines {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read as u64 == LINE_BYTES_MAX {
            let text = format!("line {}: longer than any event", self.number + 1);
            return Err(Failed::new(super::EXIT_FAILED, text));
        }
        self.bytes += read as u64;
        self.number += u64::from(read > 0);
        Ok((read > 0).then_some(line))
    }

    /// Up to `max` lines that are not empty, with their 1-based numbers. A pipe is not waited for once there is one.
    fn batch(&mut self, max: usize) -> Result<Vec<(u64, Vec<u8>)>, Failed> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < max && bytes < REQUEST_BYTES {
            let at_hand = !self.is_pipe || self.reader.buffer().contains(&b'\n');
            if !batch.is_empty() && !at_hand {
                break;
            }
            let Some(line) = self.next()? else { break };
            let line = line.trim_ascii().to_vec();
            if !line.is_empty() {
                bytes += line.len();
                batch.push((self.number, line));
            }
        }
        Ok(batch)
    }
}

#[derive(Default)]
struct Tally {
    posted: u64,
    duplicate: u64,
    conflict: u64,
    rejected: u64,
}

impl Tally {
    fn add(&mut self, answer: &Value, lines: &[u64], as_json: bool, bar: &ProgressBar) {
        for (line, result) in lines.iter().zip(answer["results"].as_array().into_iter().flatten()) {
            match result["status"].as_str() {
                Some("posted") => self.posted += 1,
                Some("duplicate") => self.duplicate += 1,
                Some("conflict") => self.conflict += 1,
                _ => self.rejected += 1,
            }
            if as_json {
                say(&result.to_string());
            } else if matches!(result["status"].as_str(), Some("rejected" | "conflict")) {
                let text = |name: &str| harmless(result[name].as_str().unwrap_or(""));
                let status = bad(&text("status"));
                bar.suspend(|| {
                    warn(&format!("line {line}: {status} {} {}", text("reason"), text("detail")));
                });
            }
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { posted, duplicate, conflict, rejected } = self;
        write!(
            f,
            "{posted} posted, {duplicate} duplicate, {conflict} conflict, {rejected} rejected"
        )
    }
}
