//! Words without buttons, and whom they mention. Pure, as cards are.

use super::{Look, foreign, open, ours, sheet, title};
use crate::cards::Notice;
use ledger::foreign::harmless;
use serde_json::{Value, json};

/// Longest line of a notice, in characters.
const NOTICE_CHARS_MAX: usize = 600;

/// Words without buttons. `who`: name and object id of members who are mentioned.
pub fn notice(notice: &Notice, who: &[(String, String)]) -> Value {
    let mut body = vec![title(&notice.title, "accent")];
    let cut = |line: &String| line.chars().take(NOTICE_CHARS_MAX).collect::<String>();
    body.extend(notice.lines.iter().map(|line| foreign(&cut(line), Look::Plain)));
    let marks: Vec<String> = who.iter().map(|(name, _)| mark(name)).collect();
    body.extend((!marks.is_empty()).then(|| ours(&marks.join(" "))));
    body.push(ours(&notice.hint));
    let button = notice.link.as_ref().map(|(words, url)| open(words, url));
    let mut sheet = sheet(&body, &button.into_iter().collect::<Vec<_>>(), &notice.title);
    if !who.is_empty() {
        let mention = |(name, object): &(String, String)| json!({"type": "mention", "text": mark(name), "mentioned": {"id": object, "name": plain(name)}});
        sheet["msteams"]["entities"] = who.iter().map(mention).collect();
    }
    sheet
}

/// What stands for a mention in a text.
fn mark(name: &str) -> String {
    format!("<at>{}</at>", plain(name))
}

/// A person's name without signs that Markdown or a mention would read.
fn plain(name: &str) -> String {
    harmless(name).chars().filter(|c| c.is_alphanumeric() || " .-\u{2019}'".contains(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::ident::Ident;

    #[test]
    fn people_are_mentioned_by_their_object_id() {
        let words = Notice {
            id: Ident::new("remind-apr-1").unwrap(),
            title: "Half of the time is over".into(),
            lines: vec!["Still needed: 1 of finance".into()],
            hint: "Answer above.".into(),
            link: None,
            mentions: Vec::new(),
        };
        let who =
            [("Bob </at> **Ito**".to_owned(), "00000000-0000-0000-0000-00000000000b".to_owned())];
        let card = notice(&words, &who);
        let entity = &card["msteams"]["entities"][0];
        assert_eq!(entity["text"], "<at>Bob at Ito</at>");
        assert_eq!(entity["mentioned"]["id"], "00000000-0000-0000-0000-00000000000b");
        assert!(card["body"].to_string().contains("<at>Bob at Ito</at>"));
        assert!(notice(&words, &[])["msteams"].get("entities").is_none());
    }
}
