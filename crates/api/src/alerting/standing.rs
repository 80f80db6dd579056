//! How channels stand that are told of alerts: for health and metrics. Kept in memory: after a start the next attempt shows it.

use ledger::{ident::Ident, time::Nanos};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

/// A chat that does not answer for so long is an alarm, in seconds. One that refuses is one at once.
const AWAY_ALARM_SECONDS: u64 = 300;

/// The channels of all tenants.
#[derive(Default)]
pub struct Channels(Mutex<BTreeMap<(Ident, String), Standing>>);

/// How a channel stands. Counters are since the start.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Messages that it took.
    pub accepted: u64,
    /// Messages that it refused, each attempt.
    pub refused: u64,
    /// Attempts without an answer, or with the answer that it takes nothing now.
    pub failed: u64,
    fails: Option<Fails>,
}

/// Nothing is told.
#[derive(Clone, Debug)]
struct Fails {
    since: Nanos,
    why: String,
    /// Waiting does not help: a person must act.
    refuses: bool,
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Ident, String), Standing>> {
        self.0.lock().expect("no holder of the lock panics")
    }

    fn change(&self, (tenant, channel): (&Ident, &str), change: impl FnOnce(&mut Standing)) {
        change(self.lock().entry((tenant.clone(), channel.to_owned())).or_default());
    }

    /// The channel is told of alerts from now on.
    pub fn begin(&self, of: (&Ident, &str)) {
        self.change(of, |_| {});
    }

    /// It took a message.
    pub fn accepted(&self, of: (&Ident, &str)) {
        self.change(of, |standing| {
            standing.accepted += 1;
            standing.fails = None;
        });
    }

    /// It refused a message that nobody sends again.
    pub fn dropped(&self, of: (&Ident, &str)) {
        self.change(of, |standing| standing.refused += 1);
    }

    /// It refused a message, which is sent again.
    pub fn refused(&self, of: (&Ident, &str), now: Nanos, why: String) {
        self.change(of, |standing| {
            standing.refused += 1;
            standing.fail(now, why, true);
        });
    }

    /// Nothing is known to be taken.
    pub fn failed(&self, of: (&Ident, &str), now: Nanos, why: String) {
        self.change(of, |standing| {
            standing.failed += 1;
            standing.fail(now, why, false);
        });
    }

    /// The rules in force do not have it.
    pub fn missing(&self, of: (&Ident, &str), now: Nanos) {
        let why = "the rules in force have no such channel, or its chat is not configured";
        self.change(of, |standing| standing.fail(now, why.into(), true));
    }

    /// The channels of a tenant.
    pub fn of(&self, tenant: &Ident) -> Vec<(String, Standing)> {
        let all = self.lock();
        let of = all.iter().filter(|((whose, _), _)| whose == tenant);
        of.map(|((_, channel), standing)| (channel.clone(), standing.clone())).collect()
    }
}

impl Standing {
    fn fail(&mut self, now: Nanos, why: String, refuses: bool) {
        let since = self.fails.as_ref().map_or(now, |fails| fails.since);
        self.fails = Some(Fails { since, why, refuses });
    }

    /// Since when it is told nothing and why, if a person must act.
    pub fn trouble(&self, now: Nanos) -> Option<String> {
        let Fails { since, why, refuses } = self.fails.as_ref()?;
        let long = now.0.saturating_sub(since.0) / 1_000_000_000 >= AWAY_ALARM_SECONDS;
        (*refuses || long).then(|| format!("since {since}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p19_a_refusal_is_an_alarm_at_once_and_silence_after_minutes() {
        let (channels, tenant) = (Channels::default(), Ident::new("acme").unwrap());
        let of = (&tenant, "security");
        let at = |seconds: u64| Nanos(seconds * 1_000_000_000);
        let trouble = |now| channels.of(&tenant)[0].1.trouble(at(now));
        channels.begin(of);
        assert_eq!(trouble(0), None);
        channels.failed(of, at(10), "no answer".into());
        channels.failed(of, at(200), "no answer".into());
        assert_eq!(trouble(309), None);
        assert!(trouble(310).unwrap().ends_with("no answer"));
        channels.refused(of, at(311), "not_in_channel".into());
        channels.accepted(of);
        assert_eq!(trouble(9_999), None);
        channels.refused(of, at(400), "is_archived".into());
        assert!(trouble(400).unwrap().contains("is_archived"));
        let standing = &channels.of(&tenant)[0].1;
        assert_eq!((standing.accepted, standing.refused, standing.failed), (1, 2, 2));
        assert!(channels.of(&Ident::new("globex").unwrap()).is_empty());
    }
}
