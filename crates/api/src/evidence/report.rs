//! The page that a person reads.

use super::{
    Computed,
    agents::Agent,
    controls,
    deliveries::Sink,
    figures::Figure,
    findings::{Finding, Weight},
    plot,
    samples::{Draw, Seed},
    versions::{Told, Versions},
    words,
};
use askama::Template;
use ledger::foreign::{self, harmless};

/// Most rows of a table on the page. The files hold all.
pub const ROWS_MAX: usize = 20;
/// Figures on the first screen.
const TILES: [&str; 8] = [
    "denied",
    "approval_needed",
    "elevated_with_approval",
    "policy_coverage",
    "completeness",
    "replay_accuracy",
    "policy_versions",
    "latency_p99",
];

/// What the page shows.
pub struct Shown<'s> {
    /// Everything that was computed.
    pub computed: &'s Computed<'s>,
    /// The figures.
    pub figures: &'s [Figure],
    /// What stands out.
    pub findings: &'s [Finding],
    /// Why it is not whole.
    pub missing: &'s [String],
    /// The draws.
    pub draws: &'s [Draw],
    /// What decided them.
    pub seed: Seed,
    /// The versions of policies.
    pub versions: &'s Versions,
    /// The agents with most decisions.
    pub agents: &'s [Agent],
}

struct FindingRow {
    exception: bool,
    text: String,
    file: &'static str,
    leaves: Vec<u64>,
}

struct Tile {
    title: &'static str,
    value: String,
    target: Option<&'static str>,
    file: &'static str,
}

struct SourceRow {
    producer: String,
    source: String,
    events: u64,
    missing: u64,
    silence: String,
    since: String,
    declared: String,
    silent: bool,
}

struct PersonRow {
    id: String,
    answers: u64,
    approved: u64,
    median: String,
    fast: usize,
    on_page: u64,
    own_calls: u64,
}

struct KeyRow {
    id: String,
    name: String,
    roles: String,
    holder: String,
    since: String,
}

struct ControlRow {
    framework: String,
    id: String,
    title: String,
    shows: String,
    stays: String,
    figures: Vec<String>,
}

#[derive(Template)]
#[template(path = "evidence.html")]
struct Page {
    tenant: String,
    from: String,
    to: String,
    origin: String,
    missing: Vec<String>,
    decisions: u64,
    proven: String,
    exceptions: usize,
    findings: Vec<FindingRow>,
    tiles: Vec<Tile>,
    not_checked_in_short: &'static str,
    days: String,
    verdicts: Vec<(String, u64)>,
    tools: Vec<(String, u64)>,
    sources: Vec<SourceRow>,
    independence: String,
    draws: Vec<(&'static str, u64, usize)>,
    seed: String,
    phases: Vec<(String, u64)>,
    people: Vec<PersonRow>,
    versions: Vec<Told>,
    keys: Vec<KeyRow>,
    agents: Vec<Agent>,
    clauses: Vec<String>,
    no_clauses: String,
    replay: String,
    not_possible: Vec<(String, u64)>,
    operation: Vec<(String, u64)>,
    sinks: Vec<Sink>,
    pause: String,
    privacy: String,
    controls: Vec<ControlRow>,
    not_checked: Vec<String>,
    product: &'static str,
    size: u64,
    root: String,
}

/// The page.
pub fn page(shown: &Shown<'_>) -> String {
    let Computed { request, log, totals, approvals, changes, verdicts, privacy, .. } =
        shown.computed;
    let signed = log.signed();
    let page = Page {
        tenant: tenant(&signed.origin),
        from: seconds(&request.period.from.to_string()),
        to: seconds(&request.period.to.to_string()),
        origin: harmless(&signed.origin),
        missing: shown.missing.to_vec(),
        decisions: totals.decisions,
        proven: proven(shown.computed),
        exceptions: shown.findings.iter().filter(|f| f.weight == Weight::Exception).count(),
        findings: shown.findings.iter().map(finding).collect(),
        tiles: tiles(shown.figures),
        not_checked_in_short: "calls that never reached a gateway, whether what producers said is true, who the people behind the ids are, and clocks.",
        days: plot::days(&totals.days),
        verdicts: totals
            .verdicts
            .iter()
            .map(|(name, count)| (foreign::name(name), *count))
            .collect(),
        tools: most(&totals.tools),
        sources: sources(shown.computed),
        independence: words::independence(request),
        draws: shown.draws.iter().map(|d| (d.control(), d.population, d.drawn().count())).collect(),
        seed: shown.seed.text(),
        phases: approvals.phases().into_iter().collect(),
        people: people(shown.computed),
        versions: shown.versions.told.iter().map(cleaned).collect(),
        keys: keys(shown.computed),
        agents: shown.agents.iter().map(agent).collect(),
        clauses: shown
            .versions
            .clauses
            .iter()
            .map(|text| harmless(&text.replacen(": new: ", ": ", 1)))
            .collect(),
        no_clauses: harmless(&shown.versions.no_clauses),
        replay: format!(
            "{} verdicts of this server were computed again from their call, facts and policies: {} the same, {} different.",
            verdicts.same + verdicts.different,
            verdicts.same,
            verdicts.different
        ),
        not_possible: verdicts.not_possible.iter().map(|(why, n)| (why.clone(), *n)).collect(),
        operation: changes.counts.iter().map(|(what, n)| (what.clone(), *n)).collect(),
        sinks: shown.computed.sinks.to_vec(),
        pause: match changes.pause.0 {
            0 => "The log never paused for a second.".into(),
            seconds => format!(
                "The longest time without an entry was {seconds} s, from {}.",
                changes.pause.1
            ),
        },
        privacy: words::privacy(request, *privacy),
        controls: controls_of(shown.figures),
        not_checked: words::not_checked(shown.computed),
        product: env!("CARGO_PKG_VERSION"),
        size: signed.size,
        root: signed.root.to_string(),
    };
    page.render().expect("a page of texts and numbers can be written")
}

fn tenant(origin: &str) -> String {
    let named = origin.split("/tenants/").nth(1).and_then(|rest| rest.split('/').next());
    foreign::name(named.unwrap_or(origin))
}

/// A time without its fraction.
fn seconds(time: &str) -> String {
    time.split('.')
        .next()
        .map(|whole| format!("{}Z", whole.trim_end_matches('Z')))
        .unwrap_or_default()
}

fn proven(computed: &Computed<'_>) -> String {
    let log = computed.log;
    let (range, size) = (log.range, log.signed().size);
    if range.begin == range.end {
        return format!(
            "No entry is in this period: entries {} and {} stand on both sides of it, proven under the checkpoint of size {size}.",
            range.begin.checked_sub(1).map_or("none".into(), |before| before.to_string()),
            range.end
        );
    }
    format!(
        "Every entry of the period is here: numbers {} to {}, none left out, each proven under the signed checkpoint of size {size}; the entries before and after show that none is cut off.",
        range.begin,
        range.end - 1
    )
}

fn finding(finding: &Finding) -> FindingRow {
    let mut text = harmless(&finding.text);
    if let Some(first) = text.get(..1) {
        text.replace_range(..1, &first.to_uppercase());
    }
    let exception = finding.weight == Weight::Exception;
    FindingRow { exception, text, file: finding.file, leaves: finding.leaves.clone() }
}

fn tiles(figures: &[Figure]) -> Vec<Tile> {
    let named = |name: &&str| figures.iter().find(|figure| figure.name == *name);
    let tile = |figure: &Figure| Tile {
        title: figure.title,
        value: figure.value(),
        target: figure.target,
        file: figure.file,
    };
    TILES.iter().filter_map(named).map(tile).collect()
}

/// The largest counts, the largest first.
fn most(counts: &std::collections::BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut rows: Vec<_> = counts.iter().collect();
    rows.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
    rows.into_iter().take(ROWS_MAX).map(|(name, count)| (foreign::name(name), *count)).collect()
}

fn sources(computed: &Computed<'_>) -> Vec<SourceRow> {
    let mut rows: Vec<_> = computed.sources.iter().collect();
    rows.sort_by_key(|(name, source)| {
        (!source.was_silent(), std::cmp::Reverse(source.silence), (*name).clone())
    });
    let row =
        |((producer, name), source): (&super::sources::Name, &super::sources::Source)| SourceRow {
            producer: foreign::name(producer),
            source: foreign::name(name),
            events: source.events,
            missing: source.missing,
            silence: format!("{} s", source.silence),
            since: seconds(&source.silent_since),
            declared: match &source.declared {
                Some((after, owner)) => {
                    format!("at least every {after} s, {}", foreign::name(owner))
                }
                None => "no".into(),
            },
            silent: source.was_silent(),
        };
    rows.into_iter().take(ROWS_MAX).map(row).collect()
}

fn people(computed: &Computed<'_>) -> Vec<PersonRow> {
    let mut rows: Vec<_> = computed.approvals.people.iter().collect();
    rows.sort_by_key(|(id, person)| (std::cmp::Reverse(person.answers()), (*id).clone()));
    let row = |(id, person): (&String, &super::approvals::Person)| PersonRow {
        id: foreign::name(id),
        answers: person.answers(),
        approved: person.approved,
        median: person.median().map(|seconds| format!("{seconds} s")).unwrap_or_default(),
        fast: person.fast(),
        on_page: person.on_page,
        own_calls: person.own_calls,
    };
    rows.into_iter().take(ROWS_MAX).map(row).collect()
}

fn keys(computed: &Computed<'_>) -> Vec<KeyRow> {
    let row = |(id, key): (&String, &super::changes::ApiKey)| {
        let holder = if key.person.is_empty() { &key.producer } else { &key.person };
        KeyRow {
            id: id.clone(),
            name: foreign::name(&key.name),
            roles: key.roles.join(", "),
            holder: foreign::name(holder),
            since: seconds(&key.since),
        }
    };
    computed.changes.keys.iter().map(row).collect()
}

fn agent(agent: &Agent) -> Agent {
    Agent {
        id: foreign::name(&agent.id),
        owners: harmless(&agent.owners),
        conflict: harmless(&agent.conflict),
        last_call: Some(&agent.last_call)
            .filter(|at| !at.is_empty())
            .map(|at| seconds(at))
            .unwrap_or_default(),
        permitted_by: harmless(&agent.permitted_by),
        ..agent.clone()
    }
}

fn controls_of(figures: &[Figure]) -> Vec<ControlRow> {
    let row = |control: controls::Control| {
        let shown = controls::figures(&control, figures);
        let figures = shown.iter().map(|f| format!("{}: {}", f.title, f.value())).collect();
        let controls::Control { framework, id, title, shows, stays, .. } = control;
        ControlRow { framework, id, title, shows, stays, figures }
    };
    controls::all().into_iter().map(row).collect()
}

fn cleaned(told: &Told) -> Told {
    Told {
        by: foreign::name(&told.by),
        comment: harmless(&told.comment),
        since: seconds(&told.since),
        changes: told.changes.iter().map(|change| harmless(change)).collect(),
        ..told.clone()
    }
}
