//! All metrics: Prometheus text at `/metrics`. What is counted here, and the figures that somebody else collected.

mod compliance;
mod figures;
mod own;
mod sinks;
mod tenants;

pub use compliance::OfLog;
pub use figures::{Disks, Figures, OfApprovals, OfSink, OfTenant, free_bytes, newest_backup};

use axum::http::StatusCode;
use compliance::Compliance;
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
use std::{sync::Arc, time::Duration};
use tenants::Tenants;

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
    compliance: Compliance,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(own::Process::default()));
        let registry = all.sub_registry_with_prefix("countersign");
        registry.register_collector(Box::new(own::Steps(ledger)));
        let compliance = Compliance::default();
        registry.register_collector(Box::new(compliance.clone()));
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
            compliance,
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

    fn set_disks(&self, disks: &Disks) {
        for (place, bytes) in &disks.free {
            self.disk_free.get_or_create(&ByPlace { place }).set(gauged(*bytes));
        }
        self.disk_bytes.set(gauged(disks.database));
        self.guard_in_place.set(disks.guard_in_place.into());
        self.backup.set(disks.newest_backup);
    }

    /// The text of all metrics, with the figures of now.
    pub fn render(&self, figures: &Figures) -> String {
        for tenant in &figures.tenants {
            self.tenants.set(tenant);
        }
        self.compliance.set(figures.logs.clone());
        self.set_disks(&figures.disks);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A number as a gauge has it.
fn gauged(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
