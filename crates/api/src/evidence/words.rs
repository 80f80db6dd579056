//! What the evidence says in sentences: in the page, and in the texts beside it.

use super::{Computed, Request, privacy};
use ledger::foreign::harmless;

/// Part 7 in a few sentences.
pub fn privacy(request: &Request, totals: privacy::Totals) -> String {
    let subjects = match totals.subjects {
        0 => "No decision here names whose data it uses.".to_owned(),
        1 => "One person or thing is named as the subject of data.".to_owned(),
        n => format!("{n} people or things are named as subjects of data."),
    };
    let hidden = match totals.not_disclosed {
        0 => String::new(),
        n => format!(" The payload of {n} decisions is not here."),
    };
    format!("{} {subjects}{hidden}", request.disclose.in_words())
}

/// Whether the samples are independent of whoever signs the log.
pub fn independence(request: &Request) -> String {
    match request.auditor_seed.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => format!(
            "Drawn by a public function of the checkpoint and of the auditor's text “{}”. The draw is independent if that text was given after the checkpoint was handed over.",
            harmless(text)
        ),
        None => "Reproducible, not independent: no auditor gave a text, and whoever signs the log could have tried many checkpoints. Make it again with --auditor-seed.".into(),
    }
}

/// What nobody can see from this folder.
pub fn not_checked(computed: &Computed<'_>) -> Vec<String> {
    let request = computed.request;
    let mut lines: Vec<String> = [
        "Calls that never reached a gateway, or that a gateway did not report.",
        "Whether what producers said is true: agents, parameters, outcomes.",
        "Who the people, agents and keys behind the ids are.",
        "Clocks: the time is the journal's; a decider's own time is believed within 60 s of it.",
        "Whether others were shown another log: compare the checkpoint with theirs.",
        "Entries outside the period, except the system entries and the approvals that the period needs. That the chain of system entries leaves nothing out there, and that no entry there is dated out of order, in the period, is the log's word: `verify --export` checks it.",
        "Checkpoint cadence, halts and backups: they are not entries of this log. That a receiver kept what it took is its word (operation/deliveries.csv says which word).",
        "Budgets: that no cap was exceeded follows from the whole log, not from a period of it: `verify --export` counts every sum again. So do counts of earlier decisions (`history`): `replay --export` counts them again. What gateways reported of costs and outcomes is their word.",
    ]
    .map(str::to_owned)
    .into();
    if computed.totals.probes == 0 {
        lines.push("Availability of deciders: no probe is in this period.".into());
    }
    lines.push(request.disclose.in_words().to_owned());
    if request.disclose != super::Disclose::All {
        lines.push("Verdicts whose payload is not here were not computed again.".into());
    }
    lines
}

/// The README of the folder.
pub fn readme(computed: &Computed<'_>, missing: &[String]) -> String {
    let signed = computed.log.signed();
    let period = computed.request.period;
    let lines: Vec<String> = missing.iter().map(|line| format!("NOT WHOLE: {line}\n")).collect();
    let head = lines.concat();
    format!(
        "\
{head}This is evidence from one Countersign log, for one period.

  log      {}
  period   {} to {}, the end not included

  report.html        read this first: what was found, and what was not checked
  conclusions.json   the same figures and findings for programs
  population/        1. every decision, counts, sources, gaps
  samples/           2. what was drawn, and how; receipts/ proves each
  approvals/         3. calls that needed people, who answered, what was refused
  policies/          4. versions, changes, keys, access
  replay/            5. verdicts that could not be computed again, or came out different
  privacy/           7. agents, purposes, subjects, who read payload, retention
  controls/          8. controls with their figures; OSCAL assessment results
  not-checked.txt    9. what this folder can't show
  proof/             the proven entries from which all of it follows
  manifest.json      every file with its SHA-256

Check it with the log's public key, which you must have from somewhere else:
  countersign verify --evidence . --key <vkey>
",
        harmless(&signed.origin),
        period.from,
        period.to
    )
}
