//! The gauges of each sink.

use super::{Named as _, figures::OfSink, gauged};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BySink {
    tenant: String,
    sink: String,
}

/// Metrics of sinks.
/// One for each figure, in their order.
pub struct Sinks([Family<BySink, Gauge>; 8]);

impl Sinks {
    /// None yet.
    pub fn new(registry: &mut Registry) -> Self {
        let mut named = |name, help| registry.named(name, help, Family::default());
        Self([
            named("sink_lag_entries", "Published entries that a sink has not read yet"),
            named(
                "sink_lag_seconds",
                "Seconds since the first entry came that a sink has not read yet",
            ),
            named("sink_sent", "Records that a sink's receiver took since the start"),
            named("sink_refused", "Records that a sink's receiver refused since the start"),
            named("sink_bytes", "Bytes of batches that a sink's receiver took since the start"),
            named("sink_failures", "Attempts of a sink since the start that delivered nothing"),
            named("sink_letters", "Refused records of a sink that wait to be sent again"),
            named("sink_stands_still", "1 while nothing of a sink arrives: a person must act"),
        ])
    }

    /// Sets the gauges of one sink.
    pub fn set(&self, tenant: &str, sink: &OfSink) {
        let by = BySink { tenant: tenant.to_owned(), sink: sink.name.clone() };
        for (family, value) in self.0.iter().zip(sink.values) {
            family.get_or_create(&by).set(gauged(value));
        }
    }
}
