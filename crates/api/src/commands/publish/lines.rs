//! Reads events one a line, and records exactly what was read.

use super::{EXIT_FAILED, EXIT_UNREADABLE, Failed, REQUEST_BYTES};
use ledger::journal::BODY_BYTES_MAX;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Longest line, in bytes: an event with some white space around it.
const LINE_BYTES_MAX: u64 = BODY_BYTES_MAX as u64 + 1024;
/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// A byte order mark, which some Windows programs put before a file.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// A file or standard input.
pub struct Input {
    path: PathBuf,
    /// Only for a regular file, which may grow, shrink or be replaced.
    file: Option<File>,
    reader: Box<dyn Read>,
}

impl Input {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> Result<Self, Failed> {
        if path.as_os_str() == "-" {
            return Ok(Self {
                path: "standard input".into(),
                file: None,
                reader: Box::new(std::io::stdin()),
            });
        }
        let failed =
            |e: std::io::Error| Failed::new(EXIT_UNREADABLE, format!("{}: {e}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let is_file = file.metadata().map_err(failed)?.is_file();
        let kept = is_file.then(|| file.try_clone()).transpose().map_err(failed)?;
        Ok(Self { path: path.to_owned(), file: kept, reader: Box::new(file) })
    }

    /// Size of a regular file in bytes.
    pub fn length(&self) -> Option<u64> {
        self.file.as_ref().and_then(|file| file.metadata().ok()).map(|meta| meta.len())
    }

    /// True if another path leads to the same file.
    pub fn is(&self, other: &Path) -> bool {
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok());
        let theirs = std::fs::metadata(other).ok();
        ours.zip(theirs).is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
    }
}

/// How much of the input was read.
#[derive(Clone, Default)]
pub struct Progress {
    /// Number of lines, including empty ones.
    pub lines: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// SHA-256 of those bytes.
    pub hash: Sha256,
}

/// A line that is not empty.
struct Line {
    /// Number of the line, from 1.
    number: u64,
    /// Text without white space around it.
    text: Vec<u8>,
    ends: bool,
    /// How much was read up to and including this line.
    after: Progress,
}

/// Form of the input, by its first line.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin {
    /// One event a line.
    Lines,
    /// JSON over several lines, or an array.
    Whole,
}

/// The lines of an input.
pub struct Lines {
    /// How much was returned to the caller.
    pub done: Progress,
    /// How much was read.
    ahead: Progress,
    input: Input,
    reader: BufReader<Box<dyn Read>>,
    /// A line that was read but not returned.
    waiting: Option<Line>,
    /// Number of the last line, if it ends in the middle of a value and so was not returned.
    torn: Option<u64>,
    /// True once a line with a JSON object was returned.
    has_event: bool,
}

impl Lines {
    /// Begins at the start of the input.
    pub fn new(mut input: Input) -> Self {
        let reader = std::mem::replace(&mut input.reader, Box::new(std::io::empty()));
        let reader = BufReader::with_capacity(READ_BYTES, reader);
        let (done, ahead) = Default::default();
        Self { done, ahead, input, reader, waiting: None, torn: None, has_event: false }
    }

    /// Name of the input, for messages.
    pub fn path(&self) -> &Path {
        &self.input.path
    }

    /// Skips this many bytes of finished lines, whatever they are. Fewer if the input ends before.
    pub fn skip(&mut self, bytes: u64) -> Result<(), Failed> {
        while self.ahead.bytes < bytes {
            let chunk = self.reader.fill_buf().map_err(|e| failed(&self.input.path, &e))?;
            let left = usize::try_from(bytes - self.ahead.bytes).unwrap_or(usize::MAX);
            let take = chunk.len().min(left);
            if take == 0 {
                break;
            }
            self.ahead.hash.update(&chunk[..take]);
            self.ahead.lines += chunk[..take].split(|byte| *byte == b'\n').count() as u64 - 1;
            self.ahead.bytes += take as u64;
            self.reader.consume(take);
        }
        self.done = self.ahead.clone();
        self.has_event = self.done.bytes > 0;
        Ok(())
    }

    /// Reads the first line that is not empty, to determine the form. The line is still returned later.
    pub fn begin(&mut self) -> Result<Begin, Failed> {
        // A resumed run has seen before that there is one event a line.
        if self.has_event {
            return Ok(Begin::Lines);
        }
        let Some(line) = self.next_line()? else { return Ok(Begin::Lines) };
        let begin = match (line.text[0], serde_json::from_slice::<IgnoredAny>(&line.text)) {
            (b'[', Ok(_)) => Begin::Whole,
            (b'{' | b'[', Err(e)) if e.is_eof() && line.ends => Begin::Whole,
            _ => Begin::Lines,
        };
        self.waiting = Some(line);
        Ok(begin)
    }

    /// Returns the rest, at most `max` bytes, after as many line ends as came before it.
    pub fn rest(&mut self, max: u64) -> Result<Vec<u8>, Failed> {
        let mut all = Vec::new();
        if let Some(line) = self.waiting.take() {
            all.resize(usize::try_from((line.number - 1).min(max)).unwrap_or(0), b'\n');
            all.extend(line.text);
            all.push(b'\n');
        }
        let read = self.reader.by_ref().take(max + 1).read_to_end(&mut all);
        read.map_err(|e| failed(&self.input.path, &e))?;
        if all.len() as u64 > max {
            let text = format!(
                "{}: more than {max} bytes that are not one event a line: write one a line (`jq -c . FILE` does)",
                self.input.path.display()
            );
            return Err(Failed::new(EXIT_FAILED, text));
        }
        Ok(all)
    }

    /// Up to `max` lines that are not empty, with their numbers. Does not wait for a pipe once there is one
    /// line.
    pub fn batch(&mut self, max: usize) -> Result<Vec<(u64, Vec<u8>)>, Failed> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < max && bytes < REQUEST_BYTES {
            let at_hand = self.input.file.is_some() || self.reader.buffer().contains(&b'\n');
            if !batch.is_empty() && !at_hand {
                break;
            }
            let Some(line) = self.next()? else { break };
            if line.text.len() > BODY_BYTES_MAX {
                if batch.is_empty() {
                    return Err(Failed::new(
                        EXIT_FAILED,
                        format!("line {}: {TOO_LONG}", line.number),
                    ));
                }
                // Send the lines before it first.
                self.waiting = Some(line);
                break;
            }
            if !line.ends && is_torn(&line.text) {
                self.torn = Some(line.number);
                break;
            }
            bytes += line.text.len();
            batch.push((line.number, line.text));
            self.done = line.after;
        }
        self.must_hold_events(&batch)?;
        Ok(batch)
    }

    /// The next line that is not empty. An error if it is longer than an event may be.
    pub fn one(&mut self) -> Result<Option<(u64, Vec<u8>)>, Failed> {
        match self.next()? {
            Some(line) if line.text.len() > BODY_BYTES_MAX => {
                Err(Failed::new(EXIT_FAILED, format!("line {}: {TOO_LONG}", line.number)))
            }
            next => Ok(next.map(|line| (line.number, line.text))),
        }
    }

    /// Refuses input without events: each line of another file would become a rejected entry, for ever.
    fn must_hold_events(&mut self, batch: &[(u64, Vec<u8>)]) -> Result<(), Failed> {
        // The only line that a pipe has given so far does not show what follows.
        let says_enough = self.input.file.is_some() || batch.len() > 1;
        let is_event = |(_, line): &(u64, Vec<u8>)| {
            line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
        };
        if self.has_event || batch.is_empty() || !says_enough {
            return Ok(());
        }
        self.has_event = batch.iter().any(is_event);
        if self.has_event {
            return Ok(());
        }
        let (first, last) = (batch[0].0, batch[batch.len() - 1].0);
        let text = format!(
            "{}: no line from {first} to {last} is a JSON object, so nothing was sent: is it the right file? \
             `publish --check` says what is wrong with each line",
            self.input.path.display()
        );
        Err(Failed::new(EXIT_FAILED, text))
    }

    /// Number of the last line, if it was left out because it ends in the middle.
    pub fn torn_line(&self) -> Option<u64> {
        self.torn
    }

    /// Checks that the file still holds what was read. Otherwise it is another file, and the rest does not
    /// follow.
    pub fn still_there(&self) -> Result<(), Failed> {
        match self.input.length() {
            Some(length) if length < self.done.bytes => {
                let text = format!(
                    "{}: it became shorter while it was published ({length} bytes, {} were read): it was truncated or \
                     written anew. Publish it again from its beginning: what is in the log already is not posted twice",
                    self.input.path.display(),
                    self.done.bytes
                );
                Err(Failed::new(EXIT_UNREADABLE, text))
            }
            _ => Ok(()),
        }
    }

    /// The waiting line, or the next one.
    fn next(&mut self) -> Result<Option<Line>, Failed> {
        match self.waiting.take() {
            Some(line) => Ok(Some(line)),
            None => self.next_line(),
        }
    }

    /// The next line that is not empty.
    fn next_line(&mut self) -> Result<Option<Line>, Failed> {
        loop {
            let is_first = self.ahead.bytes == 0;
            let mut line = Vec::new();
            let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let read = read.map_err(|e| failed(&self.input.path, &e))? as u64;
            if read == 0 {
                return Ok(None);
            }
            let ends = line.ends_with(b"\n");
            self.ahead.hash.update(&line);
            self.ahead.bytes += read;
            self.ahead.lines += 1;
            let text = if is_first { line.strip_prefix(BOM).unwrap_or(&line) } else { &line };
            // A line that is too long is returned as it is: its length shows the fault.
            let is_whole = ends || read < LINE_BYTES_MAX;
            let text = if is_whole { text.trim_ascii() } else { text };
            if !text.is_empty() {
                let (number, after) = (self.ahead.lines, self.ahead.clone());
                return Ok(Some(Line { number, text: text.to_vec(), ends, after }));
            }
        }
    }
}

/// True if a text is JSON that ends too early.
fn is_torn(text: &[u8]) -> bool {
    text.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_err_and(|e| e.is_eof())
}

const TOO_LONG: &str =
    "longer than an event may be (262144 bytes); neither it nor what follows was sent";

fn failed(path: &Path, error: &std::io::Error) -> Failed {
    Failed::new(EXIT_UNREADABLE, format!("{}: {error}", path.display()))
}
