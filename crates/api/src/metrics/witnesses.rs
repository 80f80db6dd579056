//! The metrics of each witness.

use super::{Named as _, counted, gauged};
use crate::witness::Figures;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByWitness {
    tenant: String,
    witness: String,
}

/// Metrics of witnesses.
pub struct Witnesses {
    size: Family<ByWitness, Gauge>,
    lag: Family<ByWitness, Gauge>,
    failures: Family<ByWitness, Counter>,
    conflict: Family<ByWitness, Gauge>,
}

impl Witnesses {
    /// None yet.
    pub fn new(registry: &mut Registry) -> Self {
        Self {
            size: registry.named("witness_size", Family::default()),
            lag: registry.named("witness_lag_entries", Family::default()),
            failures: registry.named("witness_failures", Family::default()),
            conflict: registry.named("witness_conflict", Family::default()),
        }
    }

    /// Sets the metrics of one witness.
    pub fn set(&self, tenant: &str, witness: &Figures) {
        let by = ByWitness { tenant: tenant.to_owned(), witness: witness.name.clone() };
        let [size, lag, failures, conflict] = witness.values;
        self.size.get_or_create(&by).set(gauged(size));
        self.lag.get_or_create(&by).set(gauged(lag));
        counted(&self.failures.get_or_create(&by), failures);
        self.conflict.get_or_create(&by).set(gauged(conflict));
    }
}
