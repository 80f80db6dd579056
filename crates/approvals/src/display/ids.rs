//! Ids in text: words that are compared letter by letter, and so are drawn in a font whose letters differ.

/// Characters of a digest that are shown at its begin and at its end.
const FOLDED: (usize, usize) = (12, 6);

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// Its text.
    pub text: &'a str,
    /// True for an id.
    pub is_id: bool,
}

/// A text in parts; put together they are the text as it was.
pub fn runs(text: &str) -> Vec<Run<'_>> {
    let (mut all, mut begin, mut at) = (Vec::new(), 0, 0);
    for word in text.split_inclusive(' ') {
        let bare = word.trim_matches([' ', ',', ';', ':', '.', '(', ')', '\u{201c}', '\u{201d}']);
        if is_id(bare) {
            // `bare` is a part of `word`.
            let from = at + word.find(bare).unwrap_or_default();
            if from > begin {
                all.push(Run { text: &text[begin..from], is_id: false });
            }
            begin = from + bare.len();
            all.push(Run { text: &text[from..begin], is_id: true });
        }
        at += word.len();
    }
    if begin < text.len() {
        all.push(Run { text: &text[begin..], is_id: false });
    }
    all
}

/// True for a word that is no word of a language and no plain number: `cus_8812`, `F-26-1183`, `11002233445566`.
fn is_id(word: &str) -> bool {
    let count = |is: fn(&u8) -> bool| word.bytes().filter(is).count();
    let digits = count(u8::is_ascii_digit);
    let letters = count(u8::is_ascii_alphabetic);
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/.#:".contains(&byte))
        && word.len() >= 3
        && (letters > 0 && digits > 0 || digits >= 6 || letters > 0 && word.contains('_'))
        && !word.contains("://")
}

/// True for a digest in hexadecimal, with or without the name of its algorithm.
pub(super) fn is_digest(text: &str) -> bool {
    let (name, hex) = text.split_once(':').unwrap_or_default();
    let named = !name.is_empty()
        && name.len() <= 16
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let hex = if named { hex } else { text };
    let enough = if named { hex.len() >= 32 } else { [40, 64, 96, 128].contains(&hex.len()) };
    enough && hex.len() <= 128 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Begin and end of a digest: `sha256:0b8b415a00fb…d70574`.
pub(super) fn folded(digest: &str) -> String {
    let name = digest.find(':').map_or(0, |at| at + 1);
    let (first, last) = FOLDED;
    let begin = digest.get(..name + first).unwrap_or(digest);
    let end = digest.get(digest.len().saturating_sub(last)..).unwrap_or_default();
    format!("{begin}\u{2026}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, ids: &[&str]) {
        let all = runs(text);
        let found: Vec<&str> = all.iter().filter(|run| run.is_id).map(|run| run.text).collect();
        assert_eq!(found, ids, "{text}");
        assert_eq!(all.iter().map(|run| run.text).collect::<String>(), text);
    }

    #[test]
    fn p7_ids_are_told_from_words() {
        check("cus_k5rnedpyg", &["cus_k5rnedpyg"]);
        check("Factuur F-26-1183", &["F-26-1183"]);
        check("Számla FP-2026/51, tr-18170.", &["FP-2026/51", "tr-18170"]);
        check("1.l9.3", &["1.l9.3"]);
        check("11002233445566", &["11002233445566"]);
        check("\u{201c}A-85\u{201d}", &["A-85"]);
        for none in ["Nordwind GmbH", "1,240", "12", "", " ", "a  b", "q4 €", "https://a1.example"]
        {
            check(none, &[]);
        }
    }

    #[test]
    fn digests_are_folded() {
        let hex = "0b8b415a00fbb8294fc9f89bf46a554506098654764e1a30f45d144631d70574";
        assert!(is_digest(hex) && is_digest(&format!("sha256:{hex}")) && is_digest(&hex[..40]));
        assert_eq!(folded(&format!("sha256:{hex}")), "sha256:0b8b415a00fb\u{2026}d70574");
        assert_eq!(folded(hex), "0b8b415a00fb\u{2026}d70574");
        for none in [&hex[..39], "sha256:0b8b", "x", ":", "", &format!("Sha 256:{hex}")] {
            assert!(!is_digest(none), "{none:?}");
        }
    }
}
