//! Kinds of receivers, and what each asks of the configuration.

use super::format::Format;

/// A kind of receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A collector of signed lines.
    Http,
    /// Files of a folder.
    File,
    /// Splunk's HTTP Event Collector.
    Splunk,
    /// `_bulk` of Elasticsearch and `OpenSearch`.
    Elastic,
    /// Syslog over TLS.
    Syslog,
    /// OpenTelemetry's logs over HTTP.
    Otlp,
    /// Datadog's intake of logs.
    Datadog,
    /// Azure's Logs Ingestion API, for Microsoft Sentinel.
    Sentinel,
}

/// Whether a kind has a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// It has none.
    None,
    /// It may have one.
    Optional,
    /// It needs one.
    Needed,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Http,
        Self::File,
        Self::Splunk,
        Self::Elastic,
        Self::Syslog,
        Self::Otlp,
        Self::Datadog,
        Self::Sentinel,
    ];

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::File => "file",
            Self::Splunk => "splunk",
            Self::Elastic => "elastic",
            Self::Syslog => "syslog",
            Self::Otlp => "otlp",
            Self::Datadog => "datadog",
            Self::Sentinel => "sentinel",
        }
    }

    /// True if it can carry this format.
    pub fn takes(self, format: Format) -> bool {
        match self {
            Self::Http | Self::File | Self::Syslog => true,
            // Datadog would take ECS's `@timestamp` for the record's own time, and drop what is older than 18 hours.
            Self::Datadog => format.is_json() && format != Format::Ecs,
            Self::Splunk | Self::Elastic | Self::Otlp | Self::Sentinel => format.is_json(),
        }
    }

    /// Its secret.
    pub fn secret(self) -> Secret {
        match self {
            Self::File | Self::Syslog => Secret::None,
            Self::Otlp => Secret::Optional,
            Self::Http | Self::Splunk | Self::Elastic | Self::Datadog | Self::Sentinel => {
                Secret::Needed
            }
        }
    }

    /// True if it is called over HTTP.
    pub fn is_http(self) -> bool {
        !matches!(self, Self::File | Self::Syslog)
    }

    /// Most records of a batch that its receiver takes beside the batch's own record.
    pub fn entries_max(self) -> usize {
        // 1,000 logs a request.
        if self == Self::Datadog { 999 } else { usize::MAX }
    }

    /// About how many bytes of entries it takes at once.
    pub fn bytes_max(self) -> usize {
        match self {
            // 5 MB a request, and what is quoted grows.
            Self::Datadog => 2 << 20,
            // 1 MB a call.
            Self::Sentinel => 512 << 10,
            _ => usize::MAX,
        }
    }
}
