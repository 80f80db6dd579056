//! Quorums in words: what is asked, and who is still needed. For people to read; the decider alone decides.

use decider::quorum::{People, Quorum};
use ledger::ident::Ident;
use std::collections::BTreeMap;

/// Most ways of meeting a quorum that are told; the rest is `…`.
const WAYS_MAX: usize = 4;
/// Most ways that are looked at.
const WAYS_SEEN_MAX: usize = 64;

/// The quorum as a phrase: `2 of finance and 1 of legal`, `1 of finance, or 2 of board`.
pub fn in_words(quorum: &Quorum) -> String {
    phrase(ways(quorum).iter().map(|way| counted(way)).collect())
}

/// What is still needed beside those who approved, a phrase for each group; one phrase where there are several ways.
pub fn still(quorum: &Quorum, approved: &[&Ident], people: &People) -> Vec<String> {
    let mut left: Vec<_> = ways(quorum).iter().map(|way| open(way, approved, people)).collect();
    left.sort_by_key(Vec::len);
    match left.as_slice() {
        [] => Vec::new(),
        [first, ..] if first.is_empty() => Vec::new(),
        [only] => counted(only),
        several => vec![phrase(several.iter().map(|way| counted(way)).collect())],
    }
}

/// A group for each place that must be filled.
type Way<'a> = Vec<&'a str>;

fn ways(quorum: &Quorum) -> Vec<Way<'_>> {
    match quorum {
        Quorum::AtLeast { at_least, of } => vec![vec![of.as_str(); *at_least as usize]],
        Quorum::Any { any } => any.iter().flat_map(ways).take(WAYS_SEEN_MAX).collect(),
        Quorum::All { all } => all.iter().fold(vec![Vec::new()], |before, part| {
            let part = ways(part);
            let joined = before.iter().flat_map(|b| part.iter().map(|p| [&b[..], p].concat()));
            joined.take(WAYS_SEEN_MAX).collect()
        }),
    }
}

/// The places that nobody of `approved` fills when as many as possible are filled, each by another person.
fn open<'a>(way: &Way<'a>, approved: &[&Ident], people: &People) -> Way<'a> {
    let mut filled: Vec<Option<usize>> = vec![None; way.len()];
    for person in 0..approved.len() {
        seat(person, way, approved, people, &mut filled, &mut vec![false; way.len()]);
    }
    way.iter().zip(&filled).filter(|(_, by)| by.is_none()).map(|(group, _)| *group).collect()
}

/// Finds a place for a person, moving others where that helps (augmenting path of a bipartite matching).
fn seat(
    person: usize,
    way: &Way<'_>,
    approved: &[&Ident],
    people: &People,
    filled: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    let Some(groups) = people.get(approved[person]) else { return false };
    for place in 0..way.len() {
        if tried[place] || !groups.contains(way[place]) {
            continue;
        }
        tried[place] = true;
        let free =
            filled[place].is_none_or(|other| seat(other, way, approved, people, filled, tried));
        if free {
            filled[place] = Some(person);
            return true;
        }
    }
    false
}

fn counted(way: &Way<'_>) -> Vec<String> {
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for group in way {
        *groups.entry(group).or_default() += 1;
    }
    groups.iter().map(|(group, count)| format!("{count} of {group}")).collect()
}

fn phrase(mut ways: Vec<Vec<String>>) -> String {
    ways.dedup();
    let more = if ways.len() > WAYS_MAX { ", or …" } else { "" };
    let told: Vec<_> = ways.iter().take(WAYS_MAX).map(|way| way.join(" and ")).collect();
    told.join(", or ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        let person = |(name, groups): (&str, &[&str])| {
            (Ident::new(name).unwrap(), groups.iter().map(|g| (*g).to_owned()).collect())
        };
        let people: [(&str, &[&str]); 4] = [
            ("ann", &["finance"]),
            ("ben", &["finance", "legal"]),
            ("cem", &["legal"]),
            ("dora", &["board"]),
        ];
        people.into_iter().map(person).collect()
    }

    fn check(quorum: &str, words: &str, approved: &[&str], needed: &[&str]) {
        let quorum: Quorum = serde_json::from_str(quorum).unwrap();
        let approved: Vec<_> = approved.iter().map(|name| Ident::new(name).unwrap()).collect();
        let approved: Vec<_> = approved.iter().collect();
        assert_eq!(in_words(&quorum), words);
        assert_eq!(still(&quorum, &approved, &people()), needed, "{words} {approved:?}");
    }

    #[test]
    fn who_is_still_needed() {
        let two = r#"{"at_least":2,"of":"finance"}"#;
        check(two, "2 of finance", &[], &["2 of finance"]);
        check(two, "2 of finance", &["ann", "cem"], &["1 of finance"]);
        check(two, "2 of finance", &["ann", "ben"], &[]);
        let both = r#"{"all":[{"at_least":1,"of":"legal"},{"at_least":1,"of":"finance"}]}"#;
        check(both, "1 of finance and 1 of legal", &[], &["1 of finance", "1 of legal"]);
        check(both, "1 of finance and 1 of legal", &["ben"], &["1 of finance"]);
        // Ben first fills legal, and moves to finance when only Cem can fill legal.
        check(both, "1 of finance and 1 of legal", &["ben", "cem"], &[]);
        let any = r#"{"any":[{"at_least":2,"of":"finance"},{"at_least":1,"of":"board"}]}"#;
        let words = "2 of finance, or 1 of board";
        check(any, words, &["ann"], &["1 of finance, or 1 of board"]);
        check(any, words, &["dora"], &[]);
        check(any, words, &["gone"], &["1 of board, or 2 of finance"]);
    }
}
