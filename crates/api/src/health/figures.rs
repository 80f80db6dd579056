//! Collects the figures that the metrics show.

use super::{alarms, troubles};
use crate::{
    alerting::Standing,
    app::App,
    counts::Share,
    metrics::{
        Disks, Figures, OfApprovals, OfBudget, OfChannel, OfLog, OfSink, OfTenant, free_bytes,
        newest_backup,
    },
    replicas,
    sinks::{self, Sink},
    sources,
};
use approvals::{deciding::ToldEarly, worker::Worker};
use ledger::{
    budget::Row,
    post::{ALL_DAYS, Freezes, day_of},
    store,
    system::freeze::FreezeScope,
    tenant::Tenant,
};
use std::cmp::Reverse;

/// Most budgets of a tenant that are read for the metrics, and most that are shown.
const BUDGETS_READ_MAX: usize = 1_000;
const BUDGETS_MAX: usize = 100;

/// The figures of now. Reads files of the system.
pub fn figures(app: &App) -> Figures {
    let tenants = app.ledger.tenants();
    Figures {
        tenants: tenants.iter().map(|tenant| of_tenant(app, tenant)).collect(),
        logs: tenants.iter().map(|tenant| of_log(app, tenant)).collect(),
        disks: disks(app),
        tls_ends: app.greeting.ends(),
    }
}

fn of_tenant(app: &App, tenant: &Tenant) -> OfTenant {
    let stops = troubles(app, tenant);
    let ready = stops.is_empty();
    let troubles = stops.iter().chain(&alarms(app, tenant)).map(|trouble| trouble.code).collect();
    let published = tenant.published();
    OfTenant {
        name: tenant.name.to_string(),
        ready,
        troubles,
        entries: published.size,
        posted: published.posted,
        halted: tenant.halted().is_some(),
        unsigned: tenant.unsigned(),
        queue_room: tenant.queue.available_permits() as u64,
        receipts_dropped: tenant.receipts_dropped(),
        scrub_age: app.scrub.age(&tenant.name).as_secs(),
        scrub_findings: app.scrub.status(&tenant.name).findings.len() as u64,
        lag: app.vitals.lag(&tenant.name).unwrap_or(0),
        sources: sources_of(app, tenant).unwrap_or_default(),
        freezes: freezes(&published.freezes),
        alerts: [published.alerts.open.len() as u64, published.alerts.raised],
        witnesses: app.witnesses.figures(tenant),
        replicas: replicas::figures(&app.ledger, tenant),
        register_ignored: tenant.replica().map_or(0, |replica| replica.alarms().ignored.0),
        sinks: app.sinks.of(&tenant.name).iter().map(|sink| of_sink(app, tenant, sink)).collect(),
        channels: app
            .channels
            .of(&tenant.name)
            .into_iter()
            .map(|one| of_channel(app, one))
            .collect(),
        approvals: app.worker(&tenant.name).map(|worker| of_approvals(&worker)),
    }
}

/// How a channel stands that is told of alerts.
fn of_channel(app: &App, (name, standing): (String, Standing)) -> OfChannel {
    let Standing { accepted, refused, failed, .. } = standing;
    OfChannel {
        name,
        messages: [("accepted", accepted), ("refused", refused), ("failed", failed)],
        refuses: standing.trouble(app.ledger.now()).is_some(),
    }
}

/// How a sink stands.
fn of_sink(app: &App, tenant: &Tenant, sink: &Sink) -> OfSink {
    let now = app.ledger.now();
    let (lag_entries, lag_seconds) = sinks::lag(&app.ledger, tenant, sink, now);
    let still = sink.stands_still(now).is_some();
    let figures = sink.figures().clone();
    OfSink {
        name: sink.spec.name.to_string(),
        values: [
            lag_entries,
            lag_seconds,
            figures.sent,
            figures.refused,
            figures.bytes,
            figures.failures,
            figures.letters as u64,
            still.into(),
            figures.decision_spans,
            sink.spec.authorities_end,
        ],
    }
}

/// The freezes in force, by scope.
fn freezes(freezes: &Freezes) -> Vec<(&'static str, u64)> {
    let count = |wanted: FreezeScope| {
        let all = freezes.in_force.values();
        all.filter(|freeze| freeze.target.scope == wanted).count() as u64
    };
    FreezeScope::ALL.into_iter().map(|(scope, name)| (name, count(scope))).collect()
}

/// What the counts of a tenant's log say now. What can't be read is absent: the scrub and `fsck` say so.
fn of_log(app: &App, tenant: &Tenant) -> OfLog {
    let now = app.ledger.now();
    let today = day_of(now);
    let counts = |from, to| app.ledger.counts(tenant, (from, to)).unwrap_or_default();
    let in_force = tenant.published().policies.in_force.clone();
    let mut recent = counts(today.saturating_sub(1), today.saturating_add(1));
    let mut day = |day: u32| recent.remove(&day).unwrap_or_default();
    OfLog {
        tenant: tenant.name.to_string(),
        all: counts(ALL_DAYS, ALL_DAYS).remove(&ALL_DAYS).unwrap_or_default(),
        days: [("today", day(today)), ("yesterday", day(today.saturating_sub(1)))],
        minutes: [now.seconds() % 86_400 / 60, 1_440],
        entries: completeness(app, tenant).unwrap_or_default(),
        policy: in_force.map(|bundle| (bundle.version, bundle.digest)),
        budgets: budgets(app, tenant).unwrap_or_default(),
        waits: app.worker(&tenant.name).map_or_else(Vec::new, |worker| worker.lists.waits()),
    }
}

/// The budgets of which most is used, in their windows of now.
fn budgets(app: &App, tenant: &Tenant) -> Result<Vec<OfBudget>, store::Error> {
    let now = app.ledger.now();
    let booked = app.ledger.all_booked(tenant, BUDGETS_READ_MAX, now)?;
    let reserved = |key: &[u8], window| -> u64 {
        let of_row = booked.open.iter().filter(|open| open.row == key && open.window == window);
        of_row.map(|open| open.sum).sum()
    };
    let shown = |(key, row): &(Vec<u8>, Row)| {
        let window =
            row.windows.first().filter(|window| (window.from..window.to).contains(&now))?;
        let Row { id, key: whose, unit, currency, .. } = row.clone();
        let words = [whose, Some(unit.as_str().to_owned()), currency];
        let [whose, unit, currency] = words.map(Option::unwrap_or_default);
        Some(OfBudget {
            labels: [id, whose, unit, currency],
            cap: window.max,
            used: row.counted((window.from, window.to)),
            reserved: reserved(key, (window.from, window.to)),
        })
    };
    let mut budgets: Vec<OfBudget> = booked.rows.iter().filter_map(shown).collect();
    let part = |budget: &OfBudget| u128::from(budget.used) * 1_000 / u128::from(budget.cap.max(1));
    budgets.sort_by_key(|budget| Reverse(part(budget)));
    budgets.truncate(BUDGETS_MAX);
    Ok(budgets)
}

/// Entries of declared sources, of these and the numbers that are known to be missing.
fn completeness(app: &App, tenant: &Tenant) -> Result<Share, store::Error> {
    let mut share = Share::default();
    for one in sources::Standing::read(&app.ledger, tenant)?.declared {
        let entries = one.reported.map_or(0, |reported| reported.entries);
        share.part += entries;
        share.whole += entries.saturating_add(app.ledger.missing(tenant, &one.declared)?);
    }
    Ok(share)
}

/// Numbers of sources by state.
fn sources_of(app: &App, tenant: &Tenant) -> Result<Vec<(&'static str, u64)>, store::Error> {
    let standing = sources::Standing::read(&app.ledger, tenant)?;
    let undeclared = standing.undeclared(&app.ledger, tenant)?.sources.len();
    Ok(vec![
        ("declared", standing.declared.len() as u64),
        ("seen", standing.seen() as u64),
        ("silent", standing.silent().count() as u64),
        ("undeclared", undeclared as u64),
    ])
}

fn of_approvals(worker: &Worker) -> OfApprovals {
    OfApprovals {
        cards_due: worker.lists.cards_due() as u64,
        pending: worker.lists.pending() as u64,
        ready: worker.readiness().ready().is_ok(),
        not_opened: worker.commands.not_opened(),
        shown_lost: worker.commands.showings.lost(),
        costs: worker.desk.costs(),
        told_early: worker.desk.later().map_or_else(Vec::new, |later| {
            let told = later.told_early();
            let ToldEarly { later, unavailable, void, waiting } = told;
            let all = [("later", later), ("unavailable", unavailable), ("void", void)];
            all.into_iter().chain([("waiting", waiting)]).collect()
        }),
    }
}

fn disks(app: &App) -> Disks {
    let file = &app.config.file;
    let places = [
        ("data", Some(&*file.data_dir)),
        ("guard", file.guard_path.parent()),
        ("backup", file.backup_dir.as_deref()),
    ];
    let free = |(place, path): (_, Option<_>)| Some((place, free_bytes(path?)?));
    Disks {
        free: places.into_iter().filter_map(free).collect(),
        database: app.ledger.disk_bytes(),
        guard_in_place: app.ledger.check_guard().is_ok(),
        newest_backup: file.backup_dir.as_deref().map_or(0, newest_backup),
    }
}
