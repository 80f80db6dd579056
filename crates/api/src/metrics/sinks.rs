//! The metrics of each sink.

use super::{Named as _, counted, figures::OfSink, gauged, list};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{collections::BTreeSet, sync::Mutex};

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct BySink {
    tenant: String,
    sink: String,
}

/// The metric of each figure of a sink, in their order.
const NAMES: [&str; 10] = [
    "sink_lag_entries",
    "sink_lag_seconds",
    "sink_sent",
    "sink_refused",
    "sink_bytes",
    "sink_failures",
    "sink_letters",
    "sink_stands_still",
    "sink_decision_spans",
    "sink_authorities_end_timestamp_seconds",
];

/// A metric of the type that the list says.
enum Figure {
    Gauge(Family<BySink, Gauge>),
    Counter(Family<BySink, Counter>),
}

/// Metrics of sinks, one for each figure, in their order.
pub struct Sinks {
    figures: [Figure; 10],
    known: Mutex<BTreeSet<BySink>>,
}

impl Sinks {
    /// None yet.
    pub fn new(registry: &mut Registry) -> Self {
        let figures = NAMES.map(|name| {
            if list::of(name).is_of(MetricType::Counter) {
                Figure::Counter(registry.named(name, Family::default()))
            } else {
                Figure::Gauge(registry.named(name, Family::default()))
            }
        });
        Self { figures, known: Mutex::default() }
    }

    /// Forgets the sinks of a tenant that are gone.
    pub fn keep(&self, tenant: &str, sinks: &[OfSink]) {
        let gone =
            |by: &BySink| by.tenant == tenant && !sinks.iter().any(|sink| sink.name == by.sink);
        let mut known = self.known.lock().expect("no holder of the lock panics");
        let (out, stay): (BTreeSet<BySink>, _) =
            std::mem::take(&mut *known).into_iter().partition(gone);
        *known = stay;
        for by in out {
            for figure in &self.figures {
                let _ = match figure {
                    Figure::Gauge(family) => family.remove(&by),
                    Figure::Counter(family) => family.remove(&by),
                };
            }
        }
        let named = |sink: &OfSink| BySink { tenant: tenant.to_owned(), sink: sink.name.clone() };
        known.extend(sinks.iter().map(named));
    }

    /// Sets the metrics of one sink.
    pub fn set(&self, tenant: &str, sink: &OfSink) {
        let by = BySink { tenant: tenant.to_owned(), sink: sink.name.clone() };
        for (figure, value) in self.figures.iter().zip(sink.values) {
            match figure {
                Figure::Gauge(family) => {
                    family.get_or_create(&by).set(gauged(value));
                }
                Figure::Counter(family) => counted(&family.get_or_create(&by), value),
            }
        }
    }
}
