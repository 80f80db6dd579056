//! The two texts of metrics: `OpenMetrics` with exemplars, and the older text of Prometheus, which knows neither exemplars nor
//! the type `info`, and has a counter's suffix in its name.

use axum::http::{HeaderMap, header};
use std::fmt::Write as _;

/// A text of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus 0.0.4.
    Classic,
}

impl Form {
    /// `OpenMetrics` only if the reader says that it reads it.
    pub fn wanted(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        if accepted.any(|value| value.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Classic
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Begin of an exemplar. No label of a histogram has it: they are names of tenants, routes and words of ours.
const EXEMPLAR: &str = " # {trace_id=";

/// What the types add to the names of their samples, and the type that the older text has for them.
const SUFFIXES: [(&str, &str, &str); 2] =
    [("counter", "_total", "counter"), ("info", "_info", "gauge")];

/// Writes `OpenMetrics` as the older text.
pub fn classic(text: &str) -> String {
    let (mut out, mut help) = (String::with_capacity(text.len()), None);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // It comes before the type, which decides the name.
            help = rest.split_once(' ').map(|(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let known = SUFFIXES.iter().find(|(known, ..)| *known == kind);
            let (suffix, kind) = known.map_or(("", kind), |(_, suffix, kind)| (suffix, kind));
            let help = help.take().unwrap_or_default();
            // Writing to a string does not fail.
            let _ = write!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            out.push_str(line.split_once(EXEMPLAR).map_or(line, |(sample, _)| sample));
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_text_has_the_same_samples() {
        let open = "# HELP a_b What it is.\n# TYPE a_b counter\na_b_total{of=\"# x\"} 3\n# HELP c This.\n# TYPE c info\n\
                    c_info{version=\"1\"} 1\n# HELP d_seconds D.\n# TYPE d_seconds histogram\nd_seconds_sum 0.1\n\
                    d_seconds_bucket{le=\"0.5\"} 1 # {trace_id=\"4bf9\"} 0.1\n# EOF\n";
        let classic_text = "# HELP a_b_total What it is.\n# TYPE a_b_total counter\na_b_total{of=\"# x\"} 3\n\
                            # HELP c_info This.\n# TYPE c_info gauge\nc_info{version=\"1\"} 1\n\
                            # HELP d_seconds D.\n# TYPE d_seconds histogram\nd_seconds_sum 0.1\n\
                            d_seconds_bucket{le=\"0.5\"} 1\n";
        assert_eq!(classic(open), classic_text);
    }

    #[test]
    fn the_reader_says_which_text_it_reads() {
        let check = |accept: &[&str], form| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            assert_eq!(Form::wanted(&headers), form, "{accept:?}");
        };
        check(&[], Form::Classic);
        check(&["*/*"], Form::Classic);
        check(&["text/plain;version=0.0.4"], Form::Classic);
        check(&["application/openmetrics-text;version=1.0.0,text/plain;q=0.5"], Form::OpenMetrics);
        check(&["text/plain", "application/openmetrics-text"], Form::OpenMetrics);
    }
}
