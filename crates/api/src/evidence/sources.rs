//! Part 1, sources: who reported, in which numbers, and when each of them was silent.

use super::{Error, Out, approvals::yes, executions::is_heartbeat, table::Table, values::text};
use ledger::{
    entry::{Kind, View},
    system::sources::{self as system, Declared},
    time::Nanos,
    verify::period::{Period, number},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Most rows of missing numbers of one source in the table. `population/gaps.csv` has all.
const NUMBERS_MAX: usize = 100;

/// What one source of one producer reported in the period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Events, decisions of ours included: the questions of a gateway come from a source too.
    pub events: u64,
    /// Heartbeats among them.
    pub heartbeats: u64,
    /// Numbers whose gap opened in the period, and that did not come in it.
    pub missing: u64,
    /// These numbers: the last one by the first one of each row without a hole.
    pub numbers: BTreeMap<u64, u64>,
    /// Leaf index of the first gap that opened in the period.
    pub gap: Option<u64>,
    /// Its longest silence in the period, in seconds.
    pub silence: u64,
    /// Time of the last event before that silence; the period's first moment if there is none.
    pub silent_since: String,
    /// Seconds after which it is silent, and who answers for it, if it is declared.
    pub declared: Option<(u32, String)>,
    #[serde(skip)]
    last: Option<Nanos>,
}

/// Producer and source.
pub type Name = (String, String);

/// The sources that reported.
pub struct Sources {
    period: Period,
    gaps: Table,
    /// By producer and source.
    pub all: BTreeMap<Name, Source>,
}

impl Sources {
    /// For a period.
    pub fn new(period: Period) -> Self {
        const COLUMNS: &[&str] =
            &["index", "journal_time", "kind", "producer", "source", "from", "to", "number"];
        let gaps = Table::new("population/gaps.csv", COLUMNS);
        Self { period, gaps, all: BTreeMap::new() }
    }

    /// Notes which sources must report from here on. What is silent is judged from then.
    pub fn declare(&mut self, view: &View<'_>) {
        let Some(told) = view.event_as::<system::Sources>() else { return };
        let from = view.origin.time.max(self.period.from);
        for source in self.all.values_mut() {
            source.declared = None;
        }
        for Declared { producer, source, owner, silent_after, .. } in told.sources {
            let name = (producer.to_string(), source);
            let source = self.all.entry(name).or_default();
            source.declared = Some((silent_after, owner.to_string()));
            (source.silence, source.last) = (0, Some(from));
            source.silent_since = from.to_string();
        }
    }

    /// Takes the next entry of the period.
    pub fn take(&mut self, out: &mut dyn Out, index: u64, view: &View<'_>) -> Result<(), Error> {
        let name =
            (text(view, &["producer"]).to_owned(), text(view, &["event", "source"]).to_owned());
        let bound = |name| number(view, &["event", name]);
        match view.kind {
            Kind::Decision | Kind::Event => {
                let source = self.all.entry(name).or_default();
                source.events += 1;
                source.heartbeats += u64::from(is_heartbeat(view));
                source.hear(view.origin.time, self.period.from);
                return Ok(());
            }
            Kind::GapOpened => {
                let [from, to] = ["from", "to"].map(|name| bound(name).unwrap_or_default());
                self.all.entry(name.clone()).or_default().open(index, (from, to));
            }
            Kind::GapClosed => {
                let closed = bound("number").unwrap_or_default();
                self.all.entry(name.clone()).or_default().close(closed);
            }
            Kind::JournalGap => {}
            Kind::Sources => {
                self.declare(view);
                return Ok(());
            }
            _ => return Ok(()),
        }
        let shown = |name| bound(name).map(|n| n.to_string()).unwrap_or_default();
        let cells = [
            index.to_string(),
            view.origin.time.to_string(),
            view.kind.as_str().to_owned(),
            name.0,
            name.1,
            shown("from"),
            shown("to"),
            shown("number"),
        ];
        self.gaps.row(out, &cells.each_ref().map(String::as_str))
    }

    /// Writes the tables. Returns the sources, with their silence until the period's end.
    pub fn finish(mut self, out: &mut dyn Out) -> Result<BTreeMap<Name, Source>, Error> {
        const COLUMNS: &[&str] = &[
            "producer",
            "source",
            "events",
            "heartbeats",
            "missing_numbers",
            "which",
            "longest_silence_seconds",
            "silent_since",
            "declared",
            "silent_after_seconds",
            "owner",
            "was_silent",
        ];
        self.gaps.finish(out)?;
        let mut table = Table::new("population/sources.csv", COLUMNS);
        for ((producer, name), source) in &mut self.all {
            source.hear(self.period.to, self.period.from);
            let Source { events, heartbeats, missing, silence, silent_since, .. } = &*source;
            let (after, owner) = source.declared.clone().unwrap_or_default();
            let declared = source.declared.is_some();
            let cells = [
                producer.clone(),
                name.clone(),
                events.to_string(),
                heartbeats.to_string(),
                missing.to_string(),
                source.numbers_in_words(NUMBERS_MAX),
                silence.to_string(),
                silent_since.clone(),
                yes(declared),
                if declared { after.to_string() } else { String::new() },
                owner,
                yes(source.was_silent()),
            ];
            table.row(out, &cells.each_ref().map(String::as_str))?;
        }
        table.finish(out)?;
        Ok(self.all)
    }
}

impl Source {
    /// True if it had to report, and did not for longer than its declaration allows.
    pub fn was_silent(&self) -> bool {
        self.declared.as_ref().is_some_and(|(after, _)| self.silence >= u64::from(*after))
    }

    /// Its missing numbers, in words: `8, 10 to 12`.
    pub fn numbers_in_words(&self, most: usize) -> String {
        in_words(self.numbers.iter().map(|(from, to)| (*from, *to)), most)
    }

    fn open(&mut self, index: u64, (from, to): (u64, u64)) {
        self.gap.get_or_insert(index);
        if from <= to {
            self.numbers.insert(from, to);
            self.missing = self.missing.saturating_add((to - from).saturating_add(1));
        }
    }

    /// A number came late. One of an earlier period hides none that is missing in this one.
    fn close(&mut self, number: u64) {
        let Some((&from, &to)) = self.numbers.range(..=number).next_back() else { return };
        if number > to {
            return;
        }
        self.numbers.remove(&from);
        if from < number {
            self.numbers.insert(from, number - 1);
        }
        if number < to {
            self.numbers.insert(number + 1, to);
        }
        self.missing = self.missing.saturating_sub(1);
    }

    /// Notes that it was heard, or that the period ended.
    fn hear(&mut self, at: Nanos, begin: Nanos) {
        let before = self.last.unwrap_or(begin);
        let silence = at.0.saturating_sub(before.0) / 1_000_000_000;
        if silence > self.silence || self.silent_since.is_empty() {
            self.silence = silence;
            self.silent_since = before.to_string();
        }
        self.last = Some(at);
    }
}

/// Rows of numbers in words, the first few.
pub fn in_words(rows: impl ExactSizeIterator<Item = (u64, u64)>, most: usize) -> String {
    let rest = rows.len().saturating_sub(most);
    let told = rows
        .take(most)
        .map(|(from, to)| if from == to { from.to_string() } else { format!("{from} to {to}") });
    let told = told.collect::<Vec<_>>().join(", ");
    if rest == 0 { told } else { format!("{told}, and {rest} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p20_missing_numbers_are_known_one_by_one() {
        let check = |gaps: &[(u64, u64)], closed: &[u64], missing: u64, told: &str| {
            let mut source = Source::default();
            for gap in gaps {
                source.open(7, *gap);
            }
            for number in closed {
                source.close(*number);
            }
            assert_eq!((source.missing, source.numbers_in_words(3)), (missing, told.to_owned()));
        };
        check(&[(2, 6)], &[], 5, "2 to 6");
        check(&[(2, 6)], &[4], 4, "2 to 3, 5 to 6");
        check(&[(2, 6)], &[4, 4, 1, 7], 4, "2 to 3, 5 to 6");
        check(&[(2, 6)], &[2, 6, 3, 5], 1, "4");
        check(&[(2, 2), (9, 9)], &[2], 1, "9");
        check(&[(2, 2)], &[2], 0, "");
        check(&[(5, 4)], &[], 0, "");
        check(&[(0, u64::MAX)], &[0], u64::MAX - 1, "1 to 18446744073709551615");
        check(&[(1, 1), (3, 3), (5, 5), (7, 7)], &[], 4, "1, 3, 5, and 1 more");
    }

    fn check(heard: &[u64], silence: u64, since: u64) {
        let second = |n: u64| Nanos(n * 1_000_000_000);
        let mut source = Source::default();
        for at in heard.iter().chain([&100]) {
            source.hear(second(*at), second(10));
        }
        assert_eq!((source.silence, source.silent_since), (silence, second(since).to_string()));
    }

    #[test]
    fn the_longest_silence() {
        check(&[], 90, 10);
        check(&[10, 20, 30], 70, 30);
        check(&[60, 70], 50, 10);
        check(&[11, 12, 99], 87, 12);
        check(&[10, 55, 100], 45, 10);
    }
}
