//! All metrics: Prometheus text at `/metrics`. What is counted here, and the figures that somebody else collected.

mod channels;
mod compliance;
mod figures;
mod list;
mod own;
mod policies;
mod sinks;
mod tenants;
mod text;
mod witnesses;

pub use figures::{
    Disks, Figures, OfApprovals, OfBudget, OfChannel, OfLog, OfSink, OfTenant, free_bytes,
    newest_backup,
};
pub use list::document;
pub use text::Form;

use axum::http::StatusCode;
use compliance::Compliance;
use ledger::{Ledger, post::LATENCY_MS};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        exemplar::HistogramWithExemplars,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Metric, Registry},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
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
struct ByDecider {
    tenant: String,
    by: &'static str,
}

/// The trace that an observation is an example of.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Trace {
    trace_id: String,
}

type Recordings =
    Family<ByDecider, HistogramWithExemplars<Trace>, fn() -> HistogramWithExemplars<Trace>>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByPlace {
    place: &'static str,
}

/// 1 ms to 33 s, doubling.
fn request_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// The classes of latency in the counts, so that both tell the same.
fn recording_seconds() -> HistogramWithExemplars<Trace> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a minute")]
    HistogramWithExemplars::new(LATENCY_MS.into_iter().map(|millis| millis as f64 / 1000.0))
}

/// Registers a metric of the list under its name.
trait Named {
    fn named<M: Metric + Clone>(&mut self, name: &str, metric: M) -> M;
}

impl Named for Registry {
    fn named<M: Metric + Clone>(&mut self, name: &str, metric: M) -> M {
        let listed = list::of(name);
        assert!(listed.is_of(metric.metric_type()), "{name} is of another type in the list");
        self.register(listed.name, listed.help, metric.clone());
        metric
    }
}

/// Metrics of this process.
pub struct Metrics {
    registry: Registry,
    events: Family<ByStatus, Counter>,
    requests: Family<ByRoute, Histogram, fn() -> Histogram>,
    recordings: Recordings,
    receipts: Histogram,
    receipts_refused: Counter,
    connections: Gauge,
    guard_in_place: Gauge,
    backup: Gauge,
    tls_ends: Gauge,
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
        registry.register("build", list::of("build").help, build);
        let requests = Family::new_with_constructor(request_seconds as fn() -> Histogram);
        let recordings = recording_seconds as fn() -> HistogramWithExemplars<Trace>;
        let recordings = Family::new_with_constructor(recordings);
        let receipts = Histogram::new(exponential_buckets(0.0001, 2.0, 16));
        Self {
            events: registry.named("events", Family::default()),
            requests: registry.named("request_seconds", requests),
            recordings: registry.named("recording_seconds", recordings),
            receipts: registry.named("receipt_seconds", receipts),
            receipts_refused: registry.named("receipts_refused", Counter::default()),
            connections: registry.named("connections", Gauge::default()),
            guard_in_place: registry.named("guard_in_place", Gauge::default()),
            backup: registry.named("backup_timestamp_seconds", Gauge::default()),
            tls_ends: registry.named("tls_end_timestamp_seconds", Gauge::default()),
            disk_free: registry.named("disk_free_bytes", Family::default()),
            disk_bytes: registry.named("disk_bytes", Gauge::default()),
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

    /// Measures a decision that was recorded and answered. `by`: `ours` or `told`; `trace`: the trace
    /// that it is a part of.
    pub fn recorded(&self, tenant: &str, by: &'static str, took: Duration, trace: Option<&str>) {
        let by = ByDecider { tenant: tenant.to_owned(), by };
        let trace = trace.map(|trace| Trace { trace_id: trace.to_owned() });
        self.recordings.get_or_create(&by).observe(took.as_secs_f64(), trace, None);
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
    pub fn render(&self, figures: &Figures, form: Form) -> String {
        for tenant in &figures.tenants {
            self.tenants.set(tenant);
        }
        self.compliance.set(figures.logs.clone());
        self.set_disks(&figures.disks);
        self.tls_ends.set(gauged(figures.tls_ends));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        if form == Form::Classic { text::classic(&text) } else { text }
    }
}

/// A number as a gauge has it.
fn gauged(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Sets a counter to what was counted elsewhere.
fn counted(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}
