//! `countersign publish`: sends events from a file or a pipe in batches, with progress and resume; or only
//! checks them.

mod check;
mod lines;
mod position;
mod whole;

use super::{EXIT_FAILED, EXIT_UNREADABLE, EXIT_USAGE, Failed};
use crate::{
    cli::Publish,
    client::Client,
    terminal::{bad, harmless, say, say_json, warn},
};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::journal::BATCH_MESSAGES_MAX;
use lines::{Begin, Input, Lines};
use position::Resume;
use serde_json::Value;

/// A request ends with the event that reaches this size. The server accepts 8 MiB.
const REQUEST_BYTES: usize = 7 << 20;

/// Publishes every event. Exit status 1 if any was rejected or in conflict.
pub fn run(arguments: &Publish) -> Result<(), Failed> {
    if !(1..=BATCH_MESSAGES_MAX).contains(&arguments.batch) {
        return Err(Failed::new(EXIT_USAGE, "--batch: 1 to 1000"));
    }
    if arguments.check {
        return check::run(arguments);
    }
    let input = Input::open(&arguments.file)?;
    let client = Client::new(&arguments.remote)?;
    let tenant = arguments.tenant.as_deref().unwrap_or_default();
    let mut publisher = Publisher::new(arguments, client, tenant, &input);
    let resume = arguments.resume.as_deref().map(|path| Resume::open(path, &input)).transpose()?;
    let mut lines = Lines::new(input);
    if let Some(resume) = &resume {
        resume.skip(&mut lines, &publisher.client, tenant)?;
    }
    match lines.begin()? {
        Begin::Lines => publisher.lines(&mut lines, resume)?,
        Begin::Whole if resume.is_some() => {
            let text = "--resume goes line by line: write one event a line (`jq -c . FILE` does), or publish without it";
            return Err(Failed::new(EXIT_USAGE, text));
        }
        Begin::Whole => {
            let events = whole::read(&mut lines)?;
            publisher.whole(&events.texts())?;
        }
    }
    if lines.done.bytes == 0 && publisher.tally.is_empty() {
        warn(&format!("note: there is no event in {}", lines.path().display()));
    }
    publisher.end()
}

/// Sends batches and counts results.
struct Publisher<'a> {
    arguments: &'a Publish,
    client: Client,
    path: String,
    bar: ProgressBar,
    tally: Tally,
}

impl<'a> Publisher<'a> {
    fn new(arguments: &'a Publish, client: Client, tenant: &str, input: &Input) -> Self {
        let bar = match input.length() {
            None => ProgressBar::new_spinner(),
            Some(length) => {
                let bar = ProgressBar::new(length);
                let style =
                    ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg} eta {eta}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar
            }
        };
        let path = format!("/v1/tenants/{tenant}/events");
        Self { arguments, client, path, bar, tally: Tally::default() }
    }

    /// Publishes one event a line, until the input ends.
    fn lines(&mut self, lines: &mut Lines, mut resume: Option<Resume>) -> Result<(), Failed> {
        loop {
            let batch = lines.batch(self.arguments.batch)?;
            if batch.is_empty() {
                break;
            }
            let (numbers, events): (Vec<u64>, Vec<Vec<u8>>) = batch.into_iter().unzip();
            let places: Vec<String> =
                numbers.iter().map(|number| format!("line {number}")).collect();
            let answer = self.send("application/x-ndjson", &events.join(&b'\n'), &places)?;
            lines.still_there()?;
            if let Some(resume) = &mut resume {
                let log = position::log_of(answer["checkpoint"].as_str().unwrap_or_default());
                resume.reached(lines, log.ok_or_else(|| self.strange(&answer))?)?;
            }
            self.bar.set_position(lines.done.bytes);
            self.bar.set_message(self.tally.to_string());
        }
        lines.still_there()?;
        if let Some(torn) = lines.torn_line() {
            let text = format!(
                "line {torn} ends in the middle, so it was not sent: is the file still being written?"
            );
            // A resumed run publishes it later.
            if resume.is_none() {
                return Err(Failed::new(EXIT_FAILED, text));
            }
            warn(&format!("{text} It is tried again next time."));
        }
        Ok(())
    }

    /// Publishes events that were read as a whole.
    fn whole(&mut self, events: &[&str]) -> Result<(), Failed> {
        let mut first = 1;
        for batch in whole::batches(events, self.arguments.batch) {
            let places: Vec<String> =
                (first..first + batch.len()).map(|number| format!("event {number}")).collect();
            let body = format!("[{}]", batch.join(","));
            self.send("application/cloudevents-batch+json", body.as_bytes(), &places)?;
            first += batch.len();
        }
        Ok(())
    }

    /// Sends one batch. The answer must have a result for every event.
    fn send(&mut self, kind: &str, body: &[u8], places: &[String]) -> Result<Value, Failed> {
        let bytes = self.client.post_events(&self.path, kind, body)?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let results = answer["results"].as_array().map_or(&[][..], Vec::as_slice);
        let is_told = |result: &Value| Tally::default().count(result).is_some();
        if results.len() != places.len() || !results.iter().all(is_told) {
            return Err(self.client.strange(&bytes).into());
        }
        for (place, result) in places.iter().zip(results) {
            let is_good = self.tally.count(result).unwrap_or(false);
            if self.arguments.json {
                say_json(result);
            } else if !is_good {
                let text = |name: &str| harmless(result[name].as_str().unwrap_or(""));
                let status = bad(&text("status"));
                let line = format!("{place}: {status} {} {}", text("reason"), text("detail"));
                self.bar.suspend(|| warn(line.trim_end()));
            }
        }
        Ok(answer)
    }

    fn strange(&self, answer: &Value) -> Failed {
        self.client.strange(answer.to_string().as_bytes()).into()
    }

    fn end(&self) -> Result<(), Failed> {
        self.bar.finish_and_clear();
        if !self.arguments.json {
            say(&self.tally.to_string());
        }
        if self.tally.rejected + self.tally.conflict > 0 {
            let text = "not every event was posted; see the lines above";
            return Err(Failed::new(EXIT_FAILED, text));
        }
        Ok(())
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
    fn is_empty(&self) -> bool {
        self.posted + self.duplicate + self.conflict + self.rejected == 0
    }

    /// Counts a result. Returns whether its event is in the log, `None` if the result is unknown.
    fn count(&mut self, result: &Value) -> Option<bool> {
        let (counter, is_good) = match result["status"].as_str()? {
            "posted" => (&mut self.posted, true),
            "duplicate" => (&mut self.duplicate, true),
            "conflict" => (&mut self.conflict, false),
            "rejected" => (&mut self.rejected, false),
            _ => return None,
        };
        *counter += 1;
        Some(is_good)
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
