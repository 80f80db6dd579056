//! The metrics of each channel that is told of alerts.

use super::{Named as _, counted, figures::OfChannel, gauged};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByChannel {
    tenant: String,
    channel: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByResult {
    tenant: String,
    channel: String,
    result: &'static str,
}

/// Metrics of channels.
pub struct Channels {
    messages: Family<ByResult, Counter>,
    refuses: Family<ByChannel, Gauge>,
}

impl Channels {
    /// None yet.
    pub fn new(registry: &mut Registry) -> Self {
        Self {
            messages: registry.named("alert_messages", Family::default()),
            refuses: registry.named("alert_channel_refuses", Family::default()),
        }
    }

    /// Sets the metrics of one channel.
    pub fn set(&self, tenant: &str, of: &OfChannel) {
        let (tenant, channel) = (tenant.to_owned(), of.name.clone());
        for (result, value) in of.messages {
            let by = ByResult { tenant: tenant.clone(), channel: channel.clone(), result };
            counted(&self.messages.get_or_create(&by), value);
        }
        self.refuses.get_or_create(&ByChannel { tenant, channel }).set(gauged(of.refuses.into()));
    }
}
