//! All metrics: Prometheus text at `/metrics`.

mod own;

use crate::{app::App, vitals::CODES};
use axum::http::StatusCode;
use ledger::Ledger;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Metric, Registry},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByTenant {
    tenant: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByReason {
    tenant: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByStatus {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByRoute {
    route: String,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByCode {
    tenant: String,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByPlace {
    place: &'static str,
}

/// 1 ms to 33 s, doubling.
fn request_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// A metric's name, and its registration.
trait Named {
    fn named<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M;
}

impl Named for Registry {
    fn named<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.register(name, help, metric.clone());
        metric
    }
}

/// Metrics of each tenant.
struct Tenants {
    ready: Family<ByTenant, Gauge>,
    troubles: Family<ByCode, Gauge>,
    lag: Family<ByTenant, Gauge>,
    cards_due: Family<ByTenant, Gauge>,
    entries: Family<ByTenant, Gauge>,
    posted: Family<ByTenant, Gauge>,
    halted: Family<ByTenant, Gauge>,
    unsigned: Family<ByTenant, Gauge>,
    queue_room: Family<ByTenant, Gauge>,
    receipts_dropped: Family<ByTenant, Gauge>,
    scrub_age: Family<ByTenant, Gauge>,
    scrub_findings: Family<ByTenant, Gauge>,
    approvals_pending: Family<ByTenant, Gauge>,
    approvals_ready: Family<ByTenant, Gauge>,
    approvals_not_opened: Family<ByReason, Gauge>,
}

impl Tenants {
    fn new(registry: &mut Registry) -> Self {
        let approvals_not_opened = registry.named(
            "approvals_not_opened",
            "Decisions that needed approval and opened none since start, by reason",
            Family::default(),
        );
        let troubles = registry.named(
            "trouble",
            "1 while something is not as it must be with a tenant, by code (proto/errors.md)",
            Family::default(),
        );
        let mut by_tenant = |name, help| registry.named(name, help, Family::default());
        Self {
            entries: by_tenant("entries", "Published entries"),
            posted: by_tenant("journal_posted", "Last journal sequence that is posted"),
            halted: by_tenant("halted", "1 if the log stands still: a person must act"),
            unsigned: by_tenant(
                "unsigned_messages",
                "Messages outside decisions. without our signature since start: somebody else writes to the journal",
            ),
            queue_room: by_tenant("queue_room", "Messages that may still be queued"),
            receipts_dropped: by_tenant(
                "receipts_dropped",
                "Receipts by message that were not sent",
            ),
            scrub_age: by_tenant(
                "scrub_age_seconds",
                "Time since everything that is stored was read again; without a whole pass, since the start",
            ),
            scrub_findings: by_tenant(
                "scrub_findings",
                "What the scrub found damaged: a person must act",
            ),
            approvals_pending: by_tenant("approvals_pending", "Approvals that wait for people"),
            approvals_ready: by_tenant(
                "approvals_ready",
                "1 if approvals are decided: the rules applied are those of the files, the clock is right",
            ),
            ready: by_tenant("ready", "1 if a tenant's requests are served here"),
            lag: by_tenant("journal_lag", "Messages of the journal that wait to be posted"),
            cards_due: by_tenant(
                "cards_due",
                "Approvals whose cards in chats are to be looked at now",
            ),
            troubles,
            approvals_not_opened,
        }
    }
}

/// Metrics of this process.
pub struct Metrics {
    registry: Registry,
    events: Family<ByStatus, Counter>,
    requests: Family<ByRoute, Histogram, fn() -> Histogram>,
    receipts: Histogram,
    receipts_refused: Counter,
    connections: Gauge,
    guard_in_place: Gauge,
    backup: Gauge,
    disk_free: Family<ByPlace, Gauge>,
    disk_bytes: Gauge,
    tenants: Tenants,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(own::Process::default()));
        let registry = all.sub_registry_with_prefix("countersign");
        registry.register_collector(Box::new(own::Steps(ledger)));
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "This version", build);
        Self {
            events: registry.named(
                "events",
                "Events answered over HTTP, by status",
                Family::default(),
            ),
            requests: registry.named(
                "request_seconds",
                "Seconds from a request's head to its answer's, by route and class of status; waiting (`wait`) included",
                Family::new_with_constructor(request_seconds as fn() -> Histogram),
            ),
            receipts: registry.named(
                "receipt_seconds",
                "Seconds to make one receipt, with its check",
                Histogram::new(exponential_buckets(0.0001, 2.0, 16)),
            ),
            receipts_refused: registry.named(
                "receipts_refused",
                "Receipts asked for at a subject that is not the sender's",
                Counter::default(),
            ),
            connections: registry.named("connections", "Open HTTP connections", Gauge::default()),
            guard_in_place: registry.named(
                "guard_in_place",
                "1 if the guard's path still names the file that is advanced",
                Gauge::default(),
            ),
            backup: registry.named(
                "backup_timestamp_seconds",
                "When the newest backup in backup_dir was written, in seconds since 1970; 0: none",
                Gauge::default(),
            ),
            disk_free: registry.named(
                "disk_free_bytes",
                "Bytes that may still be written where the database, the guard and backups lie",
                Family::default(),
            ),
            disk_bytes: registry.named(
                "disk_bytes",
                "Bytes of the database's files",
                Gauge::default(),
            ),
            tenants: Tenants::new(registry),
            registry: all,
        }
    }

    /// Counts answered events.
    pub fn events(&self, status: &'static str, count: u64) {
        self.events.get_or_create(&ByStatus { status }).inc_by(count);
    }

    /// Measures an answered request. `route`: as documented, empty if there is none.
    pub fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        let status = match status.as_u16() {
            ..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        let by = ByRoute { route: route.to_owned(), status };
        self.requests.get_or_create(&by).observe(took.as_secs_f64());
    }

    /// Counts a receipt that was requested for a forbidden subject.
    pub fn receipt_refused(&self) {
        self.receipts_refused.inc();
    }

    /// Counts a connection that was opened (1) or closed (-1).
    pub fn connection(&self, change: i64) {
        self.connections.inc_by(change);
    }

    /// Measures the time to make a receipt.
    pub fn receipt(&self, took: Duration) {
        self.receipts.observe(took.as_secs_f64());
    }

    /// Sets the troubles of each tenant. A trouble that is over becomes 0 and stays listed.
    fn set_troubles(&self, app: &App) {
        for tenant in app.ledger.tenants() {
            let name = tenant.name.to_string();
            let mut troubles = app.troubles(&tenant);
            let ready = troubles.is_empty();
            self.tenants.ready.get_or_create(&ByTenant { tenant: name.clone() }).set(ready.into());
            troubles.extend(app.alarms(&tenant));
            for code in CODES {
                let by = ByCode { tenant: name.clone(), code };
                let is = troubles.iter().any(|trouble| trouble.code == code);
                self.tenants.troubles.get_or_create(&by).set(is.into());
            }
        }
    }

    fn set_disks(&self, app: &App) {
        let file = &app.config.file;
        let guard = file.guard_path.parent();
        let places = [
            ("data", Some(&*file.data_dir)),
            ("guard", guard),
            ("backup", file.backup_dir.as_deref()),
        ];
        for (place, path) in places {
            let free = path.and_then(|path| rustix::fs::statvfs(path).ok());
            if let Some(free) = free {
                let bytes = free.f_bavail.saturating_mul(free.f_frsize);
                let gauge = self.disk_free.get_or_create(&ByPlace { place });
                gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
        }
        self.disk_bytes.set(i64::try_from(app.ledger.disk_bytes()).unwrap_or(i64::MAX));
        self.guard_in_place.set(app.ledger.check_guard().is_ok().into());
        self.backup.set(file.backup_dir.as_deref().map_or(0, newest_backup));
    }

    /// The text of all metrics.
    pub fn render(&self, app: &App) -> String {
        self.set_troubles(app);
        self.set_disks(app);
        for tenant in app.ledger.tenants() {
            let by = ByTenant { tenant: tenant.name.to_string() };
            let published = tenant.published();
            let set = |family: &Family<ByTenant, Gauge>, value: u64| {
                family.get_or_create(&by).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&self.tenants.entries, published.size);
            set(&self.tenants.posted, published.posted);
            set(&self.tenants.halted, u64::from(tenant.halted().is_some()));
            set(&self.tenants.unsigned, tenant.unsigned());
            set(&self.tenants.queue_room, tenant.queue.available_permits() as u64);
            set(&self.tenants.receipts_dropped, tenant.receipts_dropped());
            set(&self.tenants.scrub_age, app.scrub.age(&tenant.name).as_secs());
            set(&self.tenants.scrub_findings, app.scrub.status(&tenant.name).findings.len() as u64);
            set(&self.tenants.lag, app.vitals.lag(&tenant.name).unwrap_or(0));
            let Some(worker) = app.worker(&tenant.name) else { continue };
            set(&self.tenants.cards_due, worker.lists.cards_due() as u64);
            set(&self.tenants.approvals_pending, worker.lists.pending() as u64);
            set(&self.tenants.approvals_ready, u64::from(worker.readiness().ready().is_ok()));
            for (reason, count) in worker.commands.not_opened() {
                let by = ByReason { tenant: tenant.name.to_string(), reason };
                let gauge = self.tenants.approvals_not_opened.get_or_create(&by);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Time of the newest folder in `dir`, in seconds since 1970. 0 if there is none.
fn newest_backup(dir: &Path) -> i64 {
    let folders = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let written = folders.filter_map(|folder| {
        let metadata = folder.metadata().ok().filter(std::fs::Metadata::is_dir)?;
        metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()
    });
    written.max().map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
