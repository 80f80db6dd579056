//! What the configuration says of OTLP alone.

use crate::sinks::span::Names;

/// How a collector is called. Names of OpenTelemetry's own variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `http/protobuf`
    Http,
    /// `grpc`
    Grpc,
}

/// What is sent, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Each entry is a log record.
    pub logs: bool,
    /// Decisions and approvals are spans.
    pub traces: bool,
    /// Whose names spans have beside ours.
    pub names: Names,
    /// How it is sent.
    pub protocol: Protocol,
}

/// The words of a configuration: signals, the version of `gen_ai.*`, and the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// `signals`
    pub signals: Option<&'a [String]>,
    /// `gen_ai_version`
    pub gen_ai: Option<&'a str>,
    /// `protocol`
    pub protocol: Option<&'a str>,
}

impl Options {
    /// Reads them. Error: the key, and what is wrong with it.
    pub fn read(words: Words<'_>) -> Result<Self, (&'static str, String)> {
        let protocol = match words.protocol {
            None | Some("http/protobuf") => Protocol::Http,
            Some("grpc") => Protocol::Grpc,
            Some(other) => {
                return Err((
                    "protocol",
                    format!("there is no {other:?}; there is http/protobuf, grpc"),
                ));
            }
        };
        let mut options = Self { logs: false, traces: false, names: Names::Ours, protocol };
        let logs = ["logs".to_owned()];
        for signal in words.signals.unwrap_or(&logs) {
            let of = match signal.as_str() {
                "logs" => &mut options.logs,
                "traces" => &mut options.traces,
                other => {
                    return Err((
                        "signals",
                        format!("there is no {other:?}; there is logs, traces"),
                    ));
                }
            };
            if std::mem::replace(of, true) {
                return Err(("signals", format!("{signal} is there twice")));
            }
        }
        if !options.logs && !options.traces {
            return Err(("signals", "at least one of logs, traces".into()));
        }
        if let Some(version) = words.gen_ai {
            options.names = Names::parse(version).ok_or_else(|| {
                let all = Names::ALL.map(Names::as_str).join(", ");
                ("gen_ai_version", format!("there is no {version:?}; there is {all}"))
            })?;
            if !options.traces {
                return Err((
                    "gen_ai_version",
                    "its names are in spans: signals has no traces".into(),
                ));
            }
        }
        Ok(options)
    }
}
