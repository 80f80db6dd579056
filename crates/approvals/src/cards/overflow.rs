//! The overflow card: it stands for the calls that a channel was not shown, says how many they are, and names the most
//! important of them.

use super::{Card, words::cut};
use ledger::{foreign::harmless, ident::Ident, time::Nanos};
use std::collections::BTreeMap;

/// Most calls that an overflow card names.
pub const NAMED_MAX: usize = 5;
/// Most characters of a sentence on it.
const SENTENCE_CHARS_MAX: usize = 200;
/// Most characters of a sentence in its notification.
const NOTIFIED_CHARS_MAX: usize = 90;
/// Most characters of an agent.
const AGENT_CHARS_MAX: usize = 60;
/// Calls are grouped by the time that is left, in minutes: one that ends within a quarter of an hour is more important
/// than any amount that can wait until tomorrow.
const MINUTES_LEFT: [u64; 4] = [15, 60, 4 * 60, 24 * 60];

/// One card that stands for calls that came too fast to be shown one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Names it, so that it is found again after a post without an answer.
    pub id: Ident,
    /// What it says.
    pub says: Says,
    /// Address of the inbox.
    pub url: String,
    /// True if its notification says nothing of a call.
    pub short: bool,
}

/// What an overflow card says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// So many calls wait that the channel was not shown. The most important ones are named.
    Waiting(usize, Vec<LeftOut>),
    /// All of them were shown since, or are over.
    NoneLeft,
    /// A newer overflow card counts them.
    Newer,
}

/// A call that waits, and that a channel was not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The sentence, cleaned and cut.
    pub sentence: String,
    /// The agent, cleaned and cut.
    pub agent: String,
    /// Approval deadline.
    pub deadline: Nanos,
    /// Address of the approval's page.
    pub url: String,
    /// The amount in minor units, and its code.
    money: Option<(i64, String)>,
}

impl LeftOut {
    /// What an overflow card needs to know of a call.
    pub fn of(card: &Card) -> Self {
        Self {
            sentence: cut(&card.told.sentence.plain(), SENTENCE_CHARS_MAX),
            agent: cut(&card.agent, AGENT_CHARS_MAX),
            deadline: card.deadline,
            url: card.url.clone(),
            money: card.told.money.clone(),
        }
    }
}

impl Says {
    /// What the card says of these calls at a time. The first ones named are those with the least time left, in the groups of
    /// [`MINUTES_LEFT`]; within a group, the largest amount of each currency, then the second largest of each, and so
    /// on, because amounts of two currencies can't be compared here. Calls without an amount count as a currency of their own, the
    /// soonest deadline first.
    pub fn of(waiting: &BTreeMap<Ident, LeftOut>, now: Nanos) -> Self {
        if waiting.is_empty() {
            return Self::NoneLeft;
        }
        let group = |call: &LeftOut| {
            let left = call.deadline.0.saturating_sub(now.0) / 60_000_000_000;
            MINUTES_LEFT.iter().take_while(|most| left >= **most).count()
        };
        let currency = |call: &LeftOut| call.money.as_ref().map(|(_, code)| code.clone());
        let amount = |call: &LeftOut| call.money.as_ref().map_or(0, |(minor, _)| *minor);
        let mut calls: Vec<(&Ident, &LeftOut)> = waiting.iter().collect();
        // Within each group and currency, in order of importance.
        calls.sort_by_cached_key(|(id, call)| {
            let largest = std::cmp::Reverse(amount(call));
            (group(call), currency(call), largest, call.deadline, (*id).clone())
        });
        let mut taken: BTreeMap<(usize, Option<String>), usize> = BTreeMap::new();
        let mut placed: Vec<_> = calls
            .into_iter()
            .map(|(_, call)| {
                let place = taken.entry((group(call), currency(call))).or_default();
                *place += 1;
                // Where two currencies share a place, the call with an amount is first.
                ((group(call), *place, call.money.is_none(), call.deadline), call)
            })
            .collect();
        placed.sort_by_key(|(key, _)| *key);
        let named = placed.into_iter().take(NAMED_MAX).map(|(_, call)| call.clone()).collect();
        Self::Waiting(waiting.len(), named)
    }
}

impl Overflow {
    /// Its title, in our own words.
    pub fn title(&self) -> String {
        match &self.says {
            Says::Waiting(1, _) => "1 call waits that is not shown here".into(),
            Says::Waiting(count, _) => format!("{count} calls wait that are not shown here"),
            Says::NoneLeft => "No call waits that was not shown here".into(),
            Says::Newer => "A newer message counts the calls that wait".into(),
        }
    }

    /// Why there is this card, or what became of the calls, in our own words.
    pub fn text(&self) -> &'static str {
        match &self.says {
            Says::Waiting(1, _) => "Too many came in one minute. It is in the inbox.",
            Says::Waiting(..) => {
                "Too many came in one minute to show each of them. All of them are in the inbox."
            }
            Says::NoneLeft => "All calls that this message counted were shown since, or are over.",
            Says::Newer => "Too many calls came again. The newer message below counts all of them.",
        }
    }

    /// What is said before the calls that are named. `None` if all of them are.
    pub fn lead(&self) -> Option<String> {
        let Says::Waiting(count, named) = &self.says else { return None };
        (named.len() < *count).then(|| format!("The {} most important ones:", named.len()))
    }

    /// The calls that are named.
    pub fn named(&self) -> &[LeftOut] {
        match &self.says {
            Says::Waiting(_, named) => named,
            Says::NoneLeft | Says::Newer => &[],
        }
    }

    /// What a lock screen shows. Foreign text in it is cleaned; it may have signs that a chat reads as markup.
    pub fn notification(&self) -> String {
        match self.named().first().filter(|_| !self.short) {
            Some(first) => {
                let sentence = harmless(&cut(&first.sentence, NOTIFIED_CHARS_MAX));
                format!("{}: {sentence}", self.title())
            }
            None => self.title(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(sentence: &str, minutes: u64, money: Option<(i64, &str)>) -> LeftOut {
        LeftOut {
            sentence: sentence.into(),
            agent: "bot".into(),
            deadline: Nanos(minutes * 60_000_000_000),
            url: String::new(),
            money: money.map(|(minor, code)| (minor, code.to_owned())),
        }
    }

    fn says(calls: &[LeftOut]) -> Says {
        let id = |nth: usize| Ident::new(&format!("apr-{nth}")).unwrap();
        let calls = calls.iter().enumerate().map(|(nth, call)| (id(nth), call.clone()));
        Says::of(&calls.collect(), Nanos(0))
    }

    fn named(calls: &[LeftOut]) -> Vec<String> {
        match says(calls) {
            Says::Waiting(count, named) => {
                assert_eq!(count, calls.len());
                named.into_iter().map(|call| call.sentence).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_ends_soon_is_first_then_the_largest_of_each_currency() {
        let calls = [
            call("small", 50, Some((100, "EUR"))),
            call("yen", 55, Some((900_000, "JPY"))),
            call("large", 52, Some((990_000, "EUR"))),
            call("middle", 51, Some((5_000, "EUR"))),
            call("deploy", 58, None),
            call("tomorrow", 2000, Some((99_000_000, "EUR"))),
            call("soon", 14, Some((1, "EUR"))),
        ];
        assert_eq!(named(&calls), ["soon", "large", "yen", "deploy", "middle"]);
        assert_eq!(named(&calls[..2]), ["small", "yen"]);
    }

    #[test]
    fn it_says_how_many_and_names_none_on_a_locked_screen() {
        let calls: Vec<LeftOut> = (0..7).map(|n| call(&format!("call {n}"), 60, None)).collect();
        let id = Ident::new("more-apr-1").unwrap();
        let of = |says, short| Overflow { id: id.clone(), says, url: String::new(), short };
        let shown = of(says(&calls), false);
        assert_eq!(shown.title(), "7 calls wait that are not shown here");
        assert_eq!(shown.lead().as_deref(), Some("The 5 most important ones:"));
        assert_eq!(shown.notification(), "7 calls wait that are not shown here: call 0");
        assert_eq!(of(says(&calls), true).notification(), shown.title());
        assert_eq!(of(says(&calls[..5]), false).lead(), None);
        assert_eq!(says(&[]), Says::NoneLeft);
        assert!(of(says(&[]), false).named().is_empty());
    }
}
