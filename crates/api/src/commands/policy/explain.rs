//! `countersign policy explain`: what each clause says of one call, and what comes of it with budgets and redaction.

use super::Files;
use crate::{
    cli::Folder,
    commands::{EXIT_FAILED, EXIT_USAGE, Failed, rules},
    explained,
    terminal::{dim, harmless, say, say_json, strong},
};
use decider::{
    decision::Fields,
    policy::{
        Bundle, ClauseTruth, Facts, Ground, Judgement, Past, RateOf, Redacted, Request, Ruling,
        Stock, check_members,
    },
};
use ledger::{
    budget::Asked,
    canonical, clock,
    history::{Decided, Row},
    json as strict,
    time::Nanos,
};
use serde_json::{Value, json};
use std::path::Path;

/// Judges one call by the folder's files, and says why.
pub(super) fn run(
    folder: &Folder,
    call: &Path,
    at: Option<&str>,
    verified: bool,
) -> Result<(), Failed> {
    let bundle = Files::read(&folder.folder)?.bundle()?;
    let now = match at {
        None => clock::wall_clock(),
        Some(text) => Nanos::parse(text).ok_or_else(|| {
            Failed::new(
                EXIT_USAGE,
                format!("--at {text}: write a time such as 2026-12-24T18:00:00Z"),
            )
        })?,
    };
    let text = rules::read(call)?;
    let body = strict::parse(&text)
        .map_err(|error| Failed::new(EXIT_FAILED, format!("{}: {error}", call.display())))?;
    let request = check_members(&body)
        .and_then(|()| Request::read(&body))
        .map_err(|why| Failed::new(EXIT_FAILED, format!("{}: {why}", call.display())))?;
    let mut facts = bundle.facts(now, verified);
    let Ok(()) = bundle.count_earlier(&request, &mut facts, &mut Unspent);
    let (judged, explained) = (bundle.judge(&request, &facts), bundle.explain(&request, &facts));
    let unspent = unspent(&bundle, &request, &facts);
    let asked: Value = serde_json::from_slice(&text).unwrap_or_default();
    let clauses = (&explained[..], &asked["params"]);
    if folder.json {
        let mut json = explained_json(&judged, clauses, &facts, bundle.digest());
        if let Some(ruling) = &unspent {
            json["unspent"] = json!({
                "verdict": ruling.verdict.as_str(), "code": ruling.code, "clause": ruling.clause,
                "budgets": explained::budgets(ruling),
            });
        }
        say_json(&json);
    } else {
        tell(&judged, clauses);
        unspent.iter().for_each(tell_unspent);
    }
    Ok(())
}

fn explained_json(
    judged: &Judgement<'_>,
    (clauses, params): (&[ClauseTruth<'_>], &Value),
    facts: &Facts,
    digest: &str,
) -> Value {
    let ground = &judged.reason;
    json!({
        "verdict": judged.verdict.as_str(),
        "reason": {"code": ground.code, "clause": ground.clause.map(|c| &c.name), "message": message(ground)},
        "shadow": judged.shadow.as_ref().map(|(verdict, _)| verdict.as_str()),
        "clauses": explained::json(clauses, params),
        "redacted": judged.redacted.as_ref().map(redacted_json),
        "facts": facts,
        "policy": {"digest": digest},
    })
}

/// The message of the decisive clause. If it could not be judged, its message would mislead.
fn message<'b>(ground: &Ground<'b>) -> Option<&'b String> {
    ground.clause.filter(|_| ground.error.is_none()).and_then(|clause| clause.message.as_ref())
}

fn tell(judged: &Judgement<'_>, (clauses, params): (&[ClauseTruth<'_>], &Value)) {
    explained::tell(clauses, params);
    let ground = &judged.reason;
    let by = ground.clause.map(|clause| format!(" by {}", clause.name)).unwrap_or_default();
    say(&format!("{}{} ({})", strong(judged.verdict.as_str()), harmless(&by), ground.code));
    if let Some(message) = message(ground) {
        say(&harmless(message));
    }
    if let Some(redacted) = &judged.redacted {
        tell_redacted(redacted);
    }
    if let Some((verdict, _)) = &judged.shadow {
        say(&dim(&format!("with every clause in force: {}", verdict.as_str())));
    }
}

/// Nothing was decided before, nothing is booked on budgets, and rates have a call left.
struct Unspent;

impl Past for Unspent {
    type Error = std::convert::Infallible;

    fn as_of(&self) -> u64 {
        0
    }

    fn earlier(
        &mut self,
        _: &Row,
        _: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn fields(&mut self, _: u64) -> Result<Fields, Self::Error> {
        Ok(Fields::new())
    }
}

impl Stock for Unspent {
    fn counted(&mut self, _: &Asked) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn take(&mut self, _: &RateOf<'_>) -> bool {
        true
    }
}

/// The verdict with budgets and rates, if nothing was booked before. `None` if none has a part in it.
fn unspent(bundle: &Bundle, request: &Request<'_>, facts: &Facts) -> Option<Ruling> {
    let mut facts = facts.clone();
    let Ok(()) = bundle.stock_up(request, &mut facts, &mut Unspent);
    let has_part = !facts.booked.is_empty() || !facts.rates.is_empty();
    let ruling = Ruling::of(bundle, 0, request, &facts);
    let decides = bundle.judge(request, &facts).verdict != ruling.verdict;
    (has_part || decides).then_some(ruling)
}

/// The verdict with budgets and rates.
fn tell_unspent(ruling: &Ruling) {
    explained::tell_budgets(ruling);
    let Ruling { verdict, code, clause, error, .. } = ruling;
    let by = clause.as_ref().map(|clause| format!(" by {clause}")).unwrap_or_default();
    let error = error.as_ref().map(|(at, why)| format!(", {at}: {why}")).unwrap_or_default();
    let text = format!(
        "with nothing booked and nothing decided before: {}{by} ({code}{error})",
        verdict.as_str()
    );
    say(&harmless(&text));
}

/// What was redacted, and the params afterwards.
fn redacted_json(redacted: &Redacted) -> Value {
    let params = canonical::to_vec(&redacted.params);
    let params: Value = serde_json::from_slice(&params).unwrap_or_default();
    json!({"params": params, "found": redacted.facts.found, "set": redacted.facts.set})
}

/// One line for each text and detector, and the params afterwards.
fn tell_redacted(redacted: &Redacted) {
    for found in &redacted.facts.found {
        let way: Vec<String> =
            std::iter::once(&found.at).chain(&found.inside).map(ToString::to_string).collect();
        let times = found.spans.len();
        let at = harmless(&way.join(", "));
        say(&format!("redacted: {} at {at:?}, {times} times", harmless(&found.detector)));
    }
    let params = String::from_utf8_lossy(&canonical::to_vec(&redacted.params)).into_owned();
    say(&dim(&format!("params after that: {}", harmless(&params))));
}
