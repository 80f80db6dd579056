//! `countersign publish --check`: reads events as the server does, and sends nothing.

use super::{
    EXIT_FAILED, Failed,
    lines::{Begin, Input, Lines},
    whole,
};
use crate::{
    cli::Publish,
    terminal::{bad, harmless, say, say_json, warn},
};
use ledger::event;
use serde_json::json;

/// Checks every event. Exit status 1 if one is wrong.
pub fn run(arguments: &Publish) -> Result<(), Failed> {
    let mut lines = Lines::new(Input::open(&arguments.file)?);
    let mut told = Told { as_json: arguments.json, right: 0, wrong: 0 };
    match lines.begin()? {
        Begin::Lines => {
            while let Some((number, line)) = lines.one()? {
                told.event("line", number, &line);
            }
        }
        Begin::Whole => {
            let events = whole::read(&mut lines)?;
            for (number, text) in (1..).zip(events.texts()) {
                told.event("event", number, text.as_bytes());
            }
        }
    }
    let Told { right, wrong, .. } = told;
    if !arguments.json {
        say(&format!("{right} right, {wrong} wrong; nothing was sent"));
    }
    match (right, wrong) {
        (0, 0) => Err(Failed::new(EXIT_FAILED, "there is no event in it")),
        (_, 0) => Ok(()),
        _ => Err(Failed::new(EXIT_FAILED, "not every event is right; see the lines above")),
    }
}

struct Told {
    as_json: bool,
    right: u64,
    wrong: u64,
}

impl Told {
    fn event(&mut self, what: &str, number: u64, text: &[u8]) {
        let wrong = event::parse(text).err();
        let count = if wrong.is_none() { &mut self.right } else { &mut self.wrong };
        *count += 1;
        match wrong {
            wrong if self.as_json => {
                let reason = wrong.as_ref().map(event::Refused::code);
                let detail = wrong.as_ref().map(ToString::to_string);
                say_json(&json!({what: number, "reason": reason, "detail": detail}));
            }
            Some(wrong) => {
                let (reason, detail) = (bad(wrong.code()), harmless(&wrong.to_string()));
                warn(&format!("{what} {number}: {reason} {detail}"));
            }
            None => {}
        }
    }
}
