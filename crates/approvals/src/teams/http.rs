//! Calls to Microsoft: limited in time and size, without redirects, with errors sorted by what must be done.

use crate::cards::SendError;
use std::time::Duration;
use ureq::{Agent, Body, http::Response};
use url::{Host, Url};

/// Longest wait for one answer, from name resolution to its last byte.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
pub(super) const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Longest `Retry-After` that is accepted.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A URL to which a secret may be sent: https, or http within this machine; no user, no fragment.
///
/// Connections always use the parsed form, so that two readers can't see two hosts in one text.
pub(super) fn safe_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let loopback = match url.host()? {
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
        Host::Domain(_) => false,
    };
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (scheme && plain).then_some(url)
}

/// Host, with the port if it is not the scheme's default: the form that is compared with a list of hosts.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    url.port().map_or(host.clone(), |port| format!("{host}:{port}"))
}

/// An HTTP client without redirects, without proxies from the environment and without kept connections.
///
/// If the other side had closed a kept connection, the outcome of a sent card would be unknown. At the rate of
/// cards, a new connection costs nothing.
pub(super) fn agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(ANSWER_WAIT))
        .timeout_connect(Some(CONNECT_WAIT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(0)
        .proxy(None)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
    Agent::new_with_config(config.build())
}

/// An answer to a call.
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// Time after which to try again, if the answer says it in seconds.
    pub(super) retry_after: Option<Duration>,
    /// Body, at most [`ANSWER_BYTES_MAX`].
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// True for a status of success.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A text member of a JSON answer, if it is short and printable.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let json: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let text = json.get(name)?.as_str()?;
        let plain = text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic());
        (plain && !text.is_empty()).then(|| text.to_owned())
    }

    /// Status and the other side's error code. No other foreign text gets into a log.
    pub(super) fn says(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let code = json["error"]["code"].as_str().or_else(|| json["error"].as_str());
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let code: String = code.unwrap_or_default().chars().filter(|c| word(*c)).take(64).collect();
        format!("{} {code}", self.status).trim_end().to_owned()
    }

    /// The error of an answer without success. `gone`: whether 404 and 410 mean a lost message.
    pub(super) fn error(&self, gone: bool) -> SendError {
        match self.status {
            // Microsoft says to repeat these (Teams bot rate limits).
            408 | 412 | 429 | 502 | 503 | 504 => SendError::Later(self.says(), self.retry_after),
            404 | 410 if gone => {
                let says = self.says();
                // The message itself is gone, or its conversation: for example after the bot was removed from
                // a team.
                let message = ["Activity", "Message"].iter().any(|what| says.contains(what));
                if message { SendError::Gone(says) } else { SendError::Locked(says) }
            }
            500..600 => SendError::Unknown,
            _ => SendError::Refused(self.says()),
        }
    }
}

/// Reads an answer, or says why there is none.
pub(super) fn answer(sent: Result<Response<Body>, ureq::Error>) -> Result<Answer, SendError> {
    let mut response = sent.map_err(|error| failure(&error))?;
    let seconds = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX));
    let status = response.status().as_u16();
    let reader = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let body = reader.read_to_vec().map_err(|_| SendError::Unknown)?;
    Ok(Answer { status, retry_after, body })
}

/// Sorts errors by whether the request may have arrived. The text of an error can contain the URL, so it is
/// not repeated.
fn failure(error: &ureq::Error) -> SendError {
    use std::io::ErrorKind;
    use ureq::{Error, Timeout};
    let refused = |kind: ErrorKind| kind == ErrorKind::ConnectionRefused;
    match error {
        Error::HostNotFound => SendError::Later("host not found".into(), None),
        Error::ConnectionFailed => SendError::Later("no connection".into(), None),
        Error::Io(e) if refused(e.kind()) => SendError::Later("connection refused".into(), None),
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            SendError::Later("no connection in time".into(), None)
        }
        Error::Rustls(_) | Error::Tls(_) => SendError::Later("TLS failed".into(), None),
        _ => SendError::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, host: Option<&str>) {
        assert_eq!(safe_url(text).as_ref().map(host_of).as_deref(), host, "{text}");
    }

    #[test]
    fn secrets_travel_over_https_or_within_this_machine() {
        check("https://smba.trafficmanager.net/teams/", Some("smba.trafficmanager.net"));
        check("https://SMBA.trafficmanager.net:443/", Some("smba.trafficmanager.net"));
        check("https://smba.trafficmanager.net:8443/", Some("smba.trafficmanager.net:8443"));
        check("http://127.0.0.1:4003/", Some("127.0.0.1:4003"));
        check("http://[::1]:4003/", Some("[::1]:4003"));
        check("http://localhost:4003/", None);
        check("http://smba.trafficmanager.net/", None);
        check("ftp://127.0.0.1/", None);
        check("https://smba.trafficmanager.net@evil.example/", None);
        check("https://smba.trafficmanager.net\\@evil.example/", Some("smba.trafficmanager.net"));
        check("https://evil.example#smba.trafficmanager.net", None);
        check("smba.trafficmanager.net", None);
    }

    #[test]
    fn errors_say_what_to_do() {
        let answer = |status, body: &str| Answer { status, retry_after: None, body: body.into() };
        let error = answer(403, r#"{"error":{"code":"BotNotIn<b>\u202eRoster"}}"#).error(false);
        assert_eq!(error, SendError::Refused("403 BotNotInbRoster".into()));
        assert_eq!(answer(404, "").error(true), SendError::Locked("404".into()));
        let gone =
            answer(404, r#"{"error":{"code":"ActivityNotFoundInConversation"}}"#).error(true);
        assert_eq!(gone, SendError::Gone("404 ActivityNotFoundInConversation".into()));
        assert_eq!(answer(404, "").error(false), SendError::Refused("404".into()));
        assert_eq!(answer(412, "").error(true), SendError::Later("412".into(), None));
        assert_eq!(answer(302, "").error(false), SendError::Refused("302".into()));
        assert_eq!(answer(500, "").error(false), SendError::Unknown);
    }
}
