//! Names and ids that look like others of earlier calls, letter by letter.

use super::{Before, Displayed, Earlier, Fact, Part, Weight, words};
use ledger::foreign;

/// Most facts of this kind about one call.
const LINES_MAX: usize = 2;
/// Most characters that differ and are named.
const DIFFERENT_MAX: usize = 6;

/// Warns of each name or id of the call that looks like another one at the same place of an earlier call, and that nobody
/// approved before.
pub(super) fn lines(told: &Displayed, Before { own, others, .. }: Before<'_>) -> Vec<Fact> {
    let all: Vec<&Earlier> = own.iter().chain(others).copied().collect();
    let line = |(pointer, text): &(String, String)| line((pointer, text), told, &all);
    told.names.iter().filter_map(line).take(LINES_MAX).collect()
}

fn line((pointer, text): (&str, &str), told: &Displayed, all: &[&Earlier]) -> Option<Fact> {
    let at = |one: &Earlier| {
        let found = one.names.iter().find(|(other, _)| other == pointer);
        found.map(|(_, text)| text.clone())
    };
    let has = |one: &&&Earlier, text: &str| at(one).as_deref() == Some(text);
    if all.iter().any(|one| has(&one, text) && one.is_approved()) {
        return None;
    }
    let shape = foreign::shape(text);
    let alike = |one: &&&Earlier| {
        at(one).is_some_and(|other| other != text && foreign::shape(&other) == shape)
    };
    // One that was approved says more than one that was only asked for.
    let approved = all.iter().filter(alike).find(|one| one.is_approved());
    let other = at(approved.or_else(|| all.iter().find(alike))?)?;
    let with: Vec<&Earlier> = all.iter().filter(|one| has(one, &other)).copied().collect();
    let times = words::times(&with).unwrap_or_else(|| match with.len() {
        1 => "in an earlier call".into(),
        many => format!("in {many} earlier calls"),
    });
    let what = if told.whom.as_deref() == Some(text) { "another name" } else { "another one" };
    let differs = difference(text, &other).map(|how| format!(": {how}")).unwrap_or_default();
    let parts = vec![
        Part::ours("Looks like "),
        Part::quoted(&foreign::value(&other)),
        Part::Ours(format!(", {times}, but is {what}{differs}.")),
    ];
    Some(Fact::new(Weight::Warns, parts))
}

/// The first letters that are not the same: `small L in place of capital i`. `None` if they are too many to be named.
fn difference(text: &str, other: &str) -> Option<String> {
    let (text, other): (Vec<char>, Vec<char>) = (text.chars().collect(), other.chars().collect());
    let before = text.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let (text, other) = (&text[before..], &other[before..]);
    // `rn` and `m` differ in length; letters of one length are compared one by one.
    let after = if text.len() == other.len() {
        let differing = text.iter().zip(other).take_while(|(a, b)| a != b).count();
        text.len() - differing
    } else {
        text.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count()
    };
    let cut = |all: &[char]| all[..all.len() - after.min(all.len())].to_vec();
    let (here, there) = (cut(text), cut(other));
    let named = |all: &[char]| all.len() <= DIFFERENT_MAX;
    (named(&here) && named(&there))
        .then(|| format!("{} in place of {}", glyphs(&here), glyphs(&there)))
}

/// Letters by their names, where their shape does not tell them apart.
fn glyphs(letters: &[char]) -> String {
    match letters {
        [] => "nothing".into(),
        ['l'] => "small L".into(),
        ['I'] => "capital i".into(),
        ['1'] => "digit 1".into(),
        ['O'] => "capital o".into(),
        ['o'] => "small o".into(),
        ['0'] => "digit 0".into(),
        ['|'] => "a bar".into(),
        [' '] => "a blank".into(),
        ['r', 'n'] => "r and n".into(),
        letters => {
            let text: String = letters.iter().collect();
            let shown: String = if text.is_ascii() {
                foreign::value(&text)
            } else {
                // What looks like another letter is named by its number.
                letters
                    .iter()
                    .map(|c| format!("U+{:04X}", u32::from(*c)))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            format!("\u{201c}{shown}\u{201d}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, other: &str, said: Option<&str>) {
        assert_eq!(difference(text, other).as_deref(), said, "{text} {other}");
    }

    #[test]
    fn p7_letters_that_differ_are_named() {
        check("lmprenta", "Imprenta", Some("small L in place of capital i"));
        check("cus_k5rnedpyg", "cus_k5medpyg", Some("r and n in place of \u{201c}m\u{201d}"));
        check("1.l9.3", "1.19.3", Some("small L in place of digit 1"));
        check("INV-O1", "INV-01", Some("capital o in place of digit 0"));
        check("FP-51", "FP/51", Some("\u{201c}-\u{201d} in place of \u{201c}/\u{201d}"));
        check("N\u{43e}rd", "Nord", Some("\u{201c}U+043E\u{201d} in place of small o"));
        // The first of several.
        check("l1x", "I1x", Some("small L in place of capital i"));
        check("lxI", "Ixl", Some("small L in place of capital i"));
        check("abcdefgh", "ABCDEFGH", None);
    }
}
