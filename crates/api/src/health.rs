//! Whether requests should come here, and whether a person must act: for all tenants, and for one. Its log is signed, its
//! journal accepts messages, posting keeps up, and approvals are decided.
//!
//! In scope: the answers, and the figures of the metrics. Out of scope: observing journals (`background`), who may ask
//! (`routes::health`).

mod figures;

pub use figures::figures;

use crate::{
    app::App,
    replicas,
    sinks::Sink,
    sources::{OfSource, Standing},
    trouble::{Trouble, UNREVIEWED},
};
use approvals::setup::Setup;
use ledger::{
    foreign,
    journal::{Journal, jetstream},
    tenant::Tenant,
};
use std::sync::Arc;

/// Most silent sources that an alarm names.
const SILENT_NAMED_MAX: usize = 5;

/// Whether everything that was open was read since the start, and the logs are claimed. Once true, it stays.
fn has_started(app: &App) -> bool {
    let has_read = |t: &Tenant| app.worker(&t.name).is_none_or(|w| w.readiness().has_read_log());
    // A tenant without a genesis has nothing to sign yet.
    let signs = |t: &Tenant| t.shows() || t.position().size == 0;
    app.vitals.has_started(|| {
        let mut tenants = living(app).into_iter().filter(|t| t.halted().is_none());
        tenants.all(|tenant| has_read(&tenant) && signs(&tenant))
    })
}

/// Tenants whose logs have not ended.
fn living(app: &App) -> Vec<Arc<Tenant>> {
    app.ledger.tenants().into_iter().filter(|tenant| !tenant.is_deleted()).collect()
}

/// Why requests of all tenants should go elsewhere. Empty if this server is ready.
pub fn not_ready(app: &App) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut add = |code, detail: &str| troubles.push(Trouble { code, detail: detail.into() });
    if !has_started(app) {
        add("starting", "The log is being read, or is not claimed yet; wait.");
    }
    let tenants = living(app);
    let unsigned = |t: &Arc<Tenant>| t.halted().is_none() && !t.shows() && t.position().size > 0;
    if !tenants.is_empty() && tenants.iter().all(|t| t.is_fenced()) {
        add("log_halted", "Another server signs every log of this one: send requests there.");
    } else if has_started(app) && !tenants.is_empty() && tenants.iter().all(unsigned) {
        add("catching_up", "No log can be claimed: look at the broker's disk and quorum.");
    }
    let outside = |t: &Arc<Tenant>| t.replica().is_some_and(|replica| !replica.is_member());
    if !tenants.is_empty() && tenants.iter().all(outside) {
        let why = "This server is not, or no longer, one of the replicas: send requests to those that are. \
                   `countersign replica status` says who they are.";
        add("not_a_member", why);
    }
    let absent = |t: &Arc<Tenant>| matches!(t.journal(), Journal::Absent);
    let away = |t: &Arc<Tenant>| t.waiting().is_some() || app.vitals.away(t).is_some();
    let connected = journal_connected(app);
    if !connected || (!tenants.is_empty() && tenants.iter().all(|t| absent(t) || away(t))) {
        add("journal_unavailable", "No journal answers: look at the broker and its quorum.");
    }
    troubles
}

/// True if the broker is connected, and always with the embedded journal.
pub fn journal_connected(app: &App) -> bool {
    app.broker.as_ref().is_none_or(jetstream::Connection::connected)
}

/// Faults of a tenant. While it has any of the first ones, its requests are not served.
pub fn troubles(app: &App, tenant: &Tenant) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut add = |code, detail: String| troubles.push(Trouble { code, detail });
    if let Some(reason) = tenant.halted() {
        add("log_halted", reason);
    }
    if tenant.is_deleted() {
        return troubles;
    }
    if let Some(mark) = tenant.must_reach() {
        let size = mark.size;
        add(
            "catching_up",
            format!("A restored database posts the journal again up to size {size}; wait."),
        );
    }
    if let Some(seq) = tenant.rests_on() {
        add(
            "catching_up",
            format!(
                "Journal messages are gone; message {seq}, which says what they were, is not posted yet; wait."
            ),
        );
    }
    for stop in replicas::stops(tenant) {
        add(stop.code, stop.detail);
    }
    let claims = tenant.replica().is_none();
    if claims && !tenant.signs() && tenant.waiting().is_none() && tenant.halted().is_none() {
        let wait =
            "The journal is read to its end; then this server claims the log and signs it; wait.";
        add("catching_up", wait.into());
    }
    let away = tenant.waiting().or_else(|| app.vitals.away(tenant));
    if let Some(why) = away.filter(|_| tenant.halted().is_none()) {
        let look = "look at the broker and its quorum";
        add("journal_unavailable", format!("The journal does not answer ({why}): {look}."));
    }
    if let Some(why) = tenant.journal_refuses() {
        add(
            "journal_refuses",
            format!(
                "The journal did not take the last message ({why}): look at the broker's disk and quorum."
            ),
        );
    }
    let worker = app.worker(&tenant.name).filter(|_| tenant.halted().is_none());
    let wrong = tenant.time_wrong().map(|wrong| wrong.to_string());
    if let Some(why) = wrong.or_else(|| worker.as_ref()?.readiness().clocks.wrong()) {
        add("clock", why);
    }
    if let Some(worker) = worker {
        if !worker.readiness().has_read_log() {
            add("starting", "Open approvals are being read; wait.".into());
        } else if !worker.readiness().follows_rules() {
            add(
                "rules_not_in_force",
                worker
                    .readiness()
                    .rules
                    .known()
                    .err()
                    .map_or_else(|| "The rules are being read.".into(), |e| e.to_string()),
            );
        }
    }
    if tenant.halted().is_none() {
        troubles.extend(app.vitals.posting(&tenant.name));
    }
    troubles
}

/// Faults of a tenant that stop no requests. A person must act all the same.
pub fn alarms(app: &App, tenant: &Tenant) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if tenant.is_deleted() {
        return troubles;
    }
    if let Some(missing) = tenant.missing_key() {
        let detail = format!("{missing}. Put it back, and start the server again.");
        troubles.push(Trouble { code: "key_missing", detail });
    }
    let found = !app.scrub.status(&tenant.name).findings.is_empty();
    let found = found.then(|| "the scrub found what does not agree".to_owned());
    if let Some(what) = tenant.damage().or(found) {
        let detail = format!(
            "The database is damaged: {what}. Run `countersign fsck`, then restore a backup."
        );
        troubles.push(Trouble { code: "damaged", detail });
    }
    if let Some(worker) = app.worker(&tenant.name) {
        let unreviewed = |setup: &Arc<Setup>| setup.rules.iter().any(|rule| rule.unreviewed);
        if worker.readiness().rules.known().is_ok_and(|setup| unreviewed(&setup)) {
            let detail =
                "A rule lets policies change without anybody's review (`unreviewed = true`).";
            troubles.push(Trouble { code: UNREVIEWED, detail: detail.into() });
        }
        if let Err(why) = tokio::task::block_in_place(|| worker.desk.in_force()) {
            troubles.push(Trouble {
                code: "policy_unreadable",
                detail: format!("{why}. Nothing is decided."),
            });
        }
    }
    troubles.extend(silent_sources(app, tenant));
    troubles.extend(still_sinks(app, tenant));
    troubles.extend(untold(app, tenant));
    troubles.extend(witnesses(app, tenant));
    troubles.extend(replicas::alarms(&app.ledger, tenant));
    troubles.extend(early(app, tenant));
    if tenant.unsigned() > 0 {
        let count = tenant.unsigned();
        let detail =
            format!("{count} messages without our signature: somebody else writes to the journal.");
        troubles.push(Trouble { code: "unsigned_messages", detail });
    }
    troubles
}

/// The alarm about declared sources from which nothing comes.
fn silent_sources(app: &App, tenant: &Tenant) -> Option<Trouble> {
    let standing = tokio::task::block_in_place(|| Standing::read(&app.ledger, tenant));
    let standing = standing.inspect_err(|error| {
        tracing::error!(tenant = %tenant.name, %error, "which sources report is unreadable");
    });
    let standing = standing.ok()?;
    let named = |one: &OfSource| {
        let last = one.reported.as_ref().map(|reported| reported.time.to_string());
        let last =
            last.map_or_else(|| "nothing yet".to_owned(), |at| format!("nothing since {at}"));
        let (title, declared) = (foreign::harmless(&one.declared.title), &one.declared);
        format!("{title} (producer {}, owner {}): {last}", declared.producer, declared.owner)
    };
    let silent: Vec<String> = standing.silent().take(SILENT_NAMED_MAX).map(named).collect();
    let count = standing.silent().count();
    let list = silent.join("; ");
    (count > 0).then(|| Trouble {
        code: "source_silent",
        detail: format!(
            "{count} sources that must report are silent: {list}. Ask their owners; `countersign sources show` lists all."
        ),
    })
}

/// The alarm about sinks whose receivers take nothing.
fn still_sinks(app: &App, tenant: &Tenant) -> Option<Trouble> {
    let now = app.ledger.now();
    let still = |sink: &Arc<Sink>| Some(format!("{}: {}", sink.spec.name, sink.stands_still(now)?));
    let still: Vec<String> = app.sinks.of(&tenant.name).iter().filter_map(still).collect();
    (!still.is_empty()).then(|| Trouble {
        code: "sink_stands_still",
        detail: format!(
            "{}. Nothing is lost: it goes on once the receiver takes it.",
            still.join("; ")
        ),
    })
}

/// The alarm about channels that are not told of alerts.
fn untold(app: &App, tenant: &Tenant) -> Option<Trouble> {
    let now = app.ledger.now();
    let of = app.channels.of(&tenant.name).into_iter();
    let untold = of.filter_map(|(channel, standing)| {
        standing.trouble(now).map(|why| format!("{channel} is not told of alerts {why}"))
    });
    let untold: Vec<String> = untold.collect();
    (!untold.is_empty()).then(|| Trouble {
        code: "channel_refuses",
        detail: format!("{}. They are told once it takes a message.", untold.join("; ")),
    })
}

/// Alarms of outside witnesses.
fn witnesses(app: &App, tenant: &Tenant) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let conflicts = app.witnesses.conflicts(tenant);
    if !conflicts.is_empty() {
        let detail = format!(
            "{}. Keep this database, and find the other history before anybody signs on (docs/operate/witnesses.md).",
            conflicts.join("; ")
        );
        troubles.push(Trouble { code: "witness_conflict", detail });
    }
    let away = app.witnesses.away(tenant, app.ledger.now());
    if !away.is_empty() {
        let detail = format!("{}. Nothing waits for them.", away.join("; "));
        troubles.push(Trouble { code: "witness_away", detail });
    }
    troubles
}

/// Faults of verdicts that were told before they were recorded.
fn early(app: &App, tenant: &Tenant) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut add = |code, detail| troubles.push(Trouble { code, detail });
    let worker = app.worker(&tenant.name);
    let later = worker.as_ref().and_then(|worker| worker.desk.later());
    let broken = later.and_then(|later| later.broken());
    if let Some(why) = broken.or_else(|| app.vitals.spool_of(&tenant.name)) {
        add("spool", format!("{why}. Every verdict is recorded before it is told."));
    }
    let Some(later) = later else { return troubles };
    let told = later.told_early();
    if told.unavailable > 0 && told.waiting > 0 {
        let (count, waiting) = (told.unavailable, told.waiting);
        let detail = format!(
            "{count} verdicts were told while nothing could be recorded; {waiting} still wait in the spool."
        );
        add("told_unrecorded", detail);
    }
    if told.void > 0 {
        let count = told.void;
        let detail =
            format!("{count} verdicts were told, and did not stand when they were posted.");
        add("told_void", detail);
    }
    troubles
}
