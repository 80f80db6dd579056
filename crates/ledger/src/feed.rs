//! The feed: entries in index order from a cursor (`proto/formats/feed.md`). Whoever follows a log stands on it.
//!
//! In scope: what may be asked, which entries fit, where a page begins and ends, and the cursor between two pages.
//! Out of scope: waiting for news, HTTP, and how an entry is written down for its reader.

use crate::{
    canonical,
    entry::{Kind, View},
    event::Verdict,
    foreign::word,
    ident::Ident,
    log::tile::ENTRY_BYTES_MAX,
    proven::missing,
    reader::Reader,
    store,
    time::Nanos,
};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, time::Duration};

/// Most entries on a page.
pub const ENTRIES_MAX: usize = 1000;
/// Most entries that are read for one page.
pub const SCANNED_MAX: u64 = 20_000;
/// A page ends with the entry that brings its lines to so many bytes.
const LINES_BYTES: usize = 8 << 20;
/// Largest page: all its lines, in bytes.
pub const PAGE_BYTES_MAX: usize = LINES_BYTES + ENTRY_BYTES_MAX + LINE_BYTES;
/// Most bytes that a line has beside its entry: `{"index":`, 20 digits, `,"entry":`, `}` and the end of the line.
const LINE_BYTES: usize = 40;
/// How far the journal's clock may be behind ours. Beyond it, a bounded feed on a quiet log would end too
/// early.
const CLOCK_MARGIN: Duration = Duration::from_secs(5);
/// First byte of a cursor: how the rest is read.
const CURSOR_FORM: u8 = 3;
/// Bytes of a cursor: form, index, mark.
const CURSOR_BYTES: usize = 17;

/// What is asked of a feed. The default asks for every entry, for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// First `journal.time`, inclusive.
    pub since: Option<Nanos>,
    /// Last `journal.time`, exclusive. With it the feed is bounded: it ends once that time has passed.
    pub until: Option<Nanos>,
    /// Which entries.
    pub filter: Filter,
}

/// Which entries: those that fit every member that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What they record.
    pub kind: Option<Kind>,
    /// Whose messages they were.
    pub producer: Option<Ident>,
    /// `event.data.agent.id`
    pub agent: Option<String>,
    /// `event.data.verdict`
    pub verdict: Option<Verdict>,
    /// `event.data.tool.name`
    pub tool: Option<String>,
}

/// Why a question is not answered; the text says what there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A name that no question has.
    #[error("There is no {name} here; there is {known}.", name = word(.0), known = NAMES.join(", "))]
    Name(String),
    /// It could mean two things.
    #[error("{0}: given more than once.")]
    Twice(&'static str),
    /// A word that no entry has would give a feed that is silent for ever, and looks like proof that there is nothing.
    #[error("{name}: there is no {value}; there is {known}.", value = word(.value), known = .known.join(", "))]
    Word {
        /// Of which member.
        name: &'static str,
        /// What was given.
        value: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// No name of a producer.
    #[error("producer: a name of a-z, 0-9 and -, at most 63 characters.")]
    Producer,
    /// No moment.
    #[error(
        "{name}: {value} is not an RFC 3339 time with a zone, such as 2026-11-28T09:30:00Z or \
         2026-11-28T10:30:00%2B01:00 (in a URL, + is written %2B).",
        value = word(.value)
    )]
    Time {
        /// Of which member.
        name: &'static str,
        /// What was given.
        value: String,
    },
    /// A cursor of something else, or none.
    #[error(
        "after: not a cursor of this tenant's feed with the same filters. Give `next` of the page before as it is, with \
         the same {names}.",
        names = NAMES.join(", ")
    )]
    Cursor,
}

/// The names that a question may have.
pub const NAMES: [&str; 7] = ["since", "until", "kind", "agent", "verdict", "producer", "tool"];

impl Question {
    /// Reads names and values, each name once, in any order.
    pub fn read<'n, 'v>(
        pairs: impl IntoIterator<Item = (&'n str, &'v str)>,
    ) -> Result<Self, Wrong> {
        let (mut question, mut given) = (Self::default(), Vec::new());
        for (name, value) in pairs {
            let known = NAMES.into_iter().find(|known| *known == name);
            let name = known.ok_or_else(|| Wrong::Name(name.to_owned()))?;
            if given.contains(&name) {
                return Err(Wrong::Twice(name));
            }
            given.push(name);
            let time =
                || Nanos::parse(value).ok_or_else(|| Wrong::Time { name, value: value.to_owned() });
            let filter = &mut question.filter;
            match name {
                "since" => question.since = Some(time()?),
                "until" => question.until = Some(time()?),
                "kind" => filter.kind = Some(one_of(name, value, &Kind::ALL)?),
                "verdict" => filter.verdict = Some(one_of(name, value, &Verdict::ALL)?),
                "producer" => {
                    filter.producer = Some(Ident::new(value).map_err(|_| Wrong::Producer)?);
                }
                "agent" => filter.agent = Some(value.to_owned()),
                _ => filter.tool = Some(value.to_owned()),
            }
        }
        Ok(question)
    }

    /// The cursor of the page that begins at `index` of the log with this origin.
    pub fn cursor(&self, origin: &str, index: u64) -> String {
        let parts = [&[CURSOR_FORM], &index.to_be_bytes()[..], &self.mark(origin)];
        BASE64URL_NOPAD.encode(&parts.concat())
    }

    /// The index that a cursor of the same question and log stands for.
    pub fn position(&self, origin: &str, cursor: &str) -> Result<u64, Wrong> {
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| Wrong::Cursor)?;
        let bytes: [u8; CURSOR_BYTES] = bytes.try_into().map_err(|_| Wrong::Cursor)?;
        let [CURSOR_FORM, rest @ ..] = bytes else { return Err(Wrong::Cursor) };
        match rest.split_first_chunk::<8>() {
            Some((index, mark)) if *mark == self.mark(origin) => Ok(u64::from_be_bytes(*index)),
            _ => Err(Wrong::Cursor),
        }
    }

    /// Marks cursors, so that one is not used with another question, or for another log: the first 8 bytes of the SHA-256
    /// of the question in RFC 8785 form.
    fn mark(&self, origin: &str) -> [u8; 8] {
        let Self { since, until, filter: Filter { kind, producer, agent, verdict, tool } } = self;
        let members = [
            ("since", since.map(|time| time.to_string())),
            ("until", until.map(|time| time.to_string())),
            ("kind", kind.map(|kind| kind.as_str().to_owned())),
            ("producer", producer.as_ref().map(ToString::to_string)),
            ("agent", agent.clone()),
            ("verdict", verdict.map(|verdict| verdict.as_str().to_owned())),
            ("tool", tool.clone()),
            ("origin", Some(origin.to_owned())),
        ];
        let given = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let hash = Sha256::digest(canonical::of(&given.collect::<BTreeMap<_, _>>()));
        *hash.first_chunk().expect("32 bytes")
    }
}

impl Filter {
    /// Whether an entry fits.
    pub fn fits(&self, view: &View<'_>) -> bool {
        let is = |wanted: Option<&str>, path: &[&str]| {
            wanted.is_none_or(|wanted| view.text(path) == Some(wanted))
        };
        let verdict = self.verdict.map(Verdict::as_str);
        self.kind.is_none_or(|kind| kind == view.kind)
            && is(self.producer.as_ref().map(Ident::as_str), &["producer"])
            && is(self.agent.as_deref(), &["event", "data", "agent", "id"])
            && is(verdict, &["event", "data", "verdict"])
            && is(self.tool.as_deref(), &["event", "data", "tool", "name"])
    }

    /// Whether every entry fits: then none is parsed.
    fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// The value whose name is given.
fn one_of<T: Copy>(name: &'static str, value: &str, all: &[(T, &'static str)]) -> Result<T, Wrong> {
    let found = all.iter().find(|(_, known)| *known == value).map(|(found, _)| *found);
    found.ok_or_else(|| {
        let known = all.iter().map(|(_, known)| *known).collect();
        Wrong::Word { name, value: value.to_owned(), known }
    })
}

/// Which page of the answer.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Where the page before ended; `None`: the first page.
    pub from: Option<u64>,
    /// Most entries, at most [`ENTRIES_MAX`].
    pub entries: usize,
    /// The time by which a bounded feed is judged to have ended.
    pub now: Nanos,
}

/// How far a page came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The indexes that it has looked at: the first, and the one after the last.
    pub scanned: (u64, u64),
    /// The published size that it was read at.
    pub size: u64,
    /// The feed is bounded, and everything was looked at: there is no next page.
    pub ended: bool,
}

/// Reads a page; `each` gets the index and the bytes of every entry that fits, in order.
pub fn page(
    reader: &Reader<'_>,
    question: &Question,
    turn: Turn,
    mut each: impl FnMut(u64, &str),
) -> Result<Page, store::Error> {
    let damaged = || store::Error::Corrupt { family: "entries", what: "an entry" };
    let entry = |index| {
        let entry = reader.entry(index)?.ok_or_else(damaged)?;
        String::from_utf8(entry).map_err(|_| damaged())
    };
    page_of(reader, question, turn, (entry, String::as_str), |index, entry| each(index, &entry))
}

/// The same, of entries that the caller has: `entry` gives the one at an index below the published size, and is asked for them
/// in order; `text` gives its bytes. `each` gets those that fit.
pub fn page_of<E>(
    reader: &Reader<'_>,
    question: &Question,
    turn: Turn,
    (mut entry, text): (impl FnMut(u64) -> Result<E, store::Error>, impl Fn(&E) -> &str),
    mut each: impl FnMut(u64, E),
) -> Result<Page, store::Error> {
    let size = reader.at.size;
    // Each page begins at `since`, not the first one alone: what was posted between two pages may lie before it.
    let since = question.since.map(|since| reader.first_at(since)).transpose()?;
    let from = turn.from.or(since).unwrap_or(0);
    let first = from.max(since.unwrap_or(0));
    let end = question.until.map(|until| reader.first_at(until)).transpose()?;
    let last = end.unwrap_or(size).min(size);
    if first < reader.at.kept_from() {
        // A few bundles before it stay, and no reader may take them for all.
        return Err(missing(first, reader.at.pruned));
    }
    let (mut index, mut count, mut bytes) = (first, 0, 0);
    while index < last
        && count < turn.entries.min(ENTRIES_MAX)
        && index - first < SCANNED_MAX
        && bytes <= LINES_BYTES
    {
        let entry = entry(index)?;
        let text = text(&entry);
        let fits = question.filter.is_open()
            || View::parse(text.as_bytes()).is_some_and(|view| question.filter.fits(&view));
        if fits {
            count += 1;
            bytes += text.len() + LINE_BYTES;
            each(index, entry);
        }
        index += 1;
    }
    // The end is where nothing can come before `until` any more: the log has passed it, or the clock has.
    let settled = Nanos(turn.now.0.saturating_sub(CLOCK_MARGIN.as_nanos() as u64));
    let passed = last < size || question.until.is_some_and(|until| until <= settled);
    let ended = end.is_some() && index >= last && passed;
    Ok(Page { scanned: (from, index.max(from)), size, ended })
}

#[cfg(test)]
mod tests;
