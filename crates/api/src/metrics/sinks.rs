//! The metrics of each sink.

use super::{Named as _, counted, figures::OfSink, gauged, list};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BySink {
    tenant: String,
    sink: String,
}

/// The metric of each figure of a sink, in their order.
const NAMES: [&str; 8] = [
    "sink_lag_entries",
    "sink_lag_seconds",
    "sink_sent",
    "sink_refused",
    "sink_bytes",
    "sink_failures",
    "sink_letters",
    "sink_stands_still",
];

/// A metric of the type that the list says.
enum Figure {
    Gauge(Family<BySink, Gauge>),
    Counter(Family<BySink, Counter>),
}

/// Metrics of sinks, one for each figure, in their order.
pub struct Sinks([Figure; 8]);

impl Sinks {
    /// None yet.
    pub fn new(registry: &mut Registry) -> Self {
        Self(NAMES.map(|name| {
            if list::of(name).is_of(MetricType::Counter) {
                Figure::Counter(registry.named(name, Family::default()))
            } else {
                Figure::Gauge(registry.named(name, Family::default()))
            }
        }))
    }

    /// Sets the metrics of one sink.
    pub fn set(&self, tenant: &str, sink: &OfSink) {
        let by = BySink { tenant: tenant.to_owned(), sink: sink.name.clone() };
        for (figure, value) in self.0.iter().zip(sink.values) {
            match figure {
                Figure::Gauge(family) => {
                    family.get_or_create(&by).set(gauged(value));
                }
                Figure::Counter(family) => counted(&family.get_or_create(&by), value),
            }
        }
    }
}
