//! Why a call failed, in words that say what to do.

use serde_json::Value;
use std::{fmt::Display, path::PathBuf};
use ureq::Error as Cause;

/// Most characters of an unexpected answer that are shown.
const SHOWN_CHARS: usize = 80;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read, or has the wrong content.
    #[error("{}: {why}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The arguments say too little or too much.
    #[error("{0}")]
    Usage(String),
    /// The configuration that should name the server can't be used.
    #[error("{0}")]
    Config(String),
    /// No answer came.
    #[error("{server} can't be reached: {why}")]
    Unreachable {
        /// Base URL.
        server: String,
        /// The cause.
        why: String,
        /// True if it may pass by itself.
        passing: bool,
    },
    /// The server refused. The detail says what to do.
    #[error("{status} {code}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable code. Empty if the answer is not one of ours.
        code: String,
        /// Text that says what to do.
        detail: String,
        /// True if it is certain that nothing was done.
        outcome_known: bool,
    },
}

impl Error {
    /// The error if none of several addresses answers.
    pub fn nobody(addresses: &[String]) -> Self {
        let why = "nobody answers there with a certificate that fits; name the server with --server, and its \
                   certificate authority with --ca";
        Self::Unreachable { server: addresses.join(" or "), why: why.into(), passing: false }
    }

    /// The error if no answer came.
    pub fn unreachable(server: &str, cause: &Cause) -> Self {
        let (why, passing) = told(cause);
        Self::Unreachable { server: server.into(), why, passing }
    }

    /// The error for a refusal. `key`: the parts of the key that may be shown.
    pub fn refused(server: &str, key: &dyn Display, status: u16, bytes: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |name: &str| problem[name].as_str().unwrap_or("").to_owned();
        let code = text("code");
        if code.is_empty() {
            return Self::not_ours(server, status, bytes);
        }
        let mut detail = text("detail");
        if code == "unauthenticated" {
            detail =
                format!("{key} is not in force at {server} for this: use another key. {detail}");
        }
        Self::Refused { status, code, detail, outcome_known: problem["outcome"] != "unknown" }
    }

    /// The error for an answer that no server of ours gives.
    pub fn not_ours(server: &str, status: u16, bytes: &[u8]) -> Self {
        let begin: String = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN_CHARS)])
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .take(SHOWN_CHARS)
            .collect();
        let why = match status {
            300..400 => "leads elsewhere, and an API key follows nobody: name the server itself",
            429 | 502..=504 => {
                "is answered by something in front of the server, which has no answer of it"
            }
            _ => "does not answer as a Countersign server does: is it the right address?",
        };
        let detail = format!("{server} {why} (the answer begins with `{begin}`)");
        Self::Refused { status, code: String::new(), detail, outcome_known: true }
    }
}

/// The cause in words, and whether it may pass.
fn told(cause: &Cause) -> (String, bool) {
    let text = cause.to_string();
    let hint = [
        (
            "InvalidContentType",
            "it speaks no TLS on this port: is it http:// on this machine, or another port?",
        ),
        ("UnknownIssuer", "its certificate is of no known authority: name that with --ca FILE"),
        (
            "not valid for name",
            "its certificate is for another name: use the name that stands in it",
        ),
        ("NotValidForName", "its certificate is for another name: use the name that stands in it"),
        ("Expired", "its certificate has expired (or a clock is wrong)"),
    ];
    if let Some((_, hint)) = hint.iter().find(|(sign, _)| text.contains(sign)) {
        return (format!("{hint} ({text})"), false);
    }
    match cause {
        Cause::Io(e) => match e.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                ("nobody listens there; is the server running?".into(), true)
            }
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
                (e.to_string(), false)
            }
            _ => (e.to_string(), true),
        },
        Cause::Timeout(_) => (format!("no answer in time ({text})"), true),
        Cause::ConnectionFailed => ("the connection failed".into(), true),
        Cause::HostNotFound => ("there is no host of this name".into(), true),
        Cause::Protocol(_) => {
            (format!("the answer is not HTTP, or was cut off; is it https://? ({text})"), true)
        }
        _ => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::key::ApiKey;

    #[test]
    fn strange_answers_are_told_from_ours() {
        let key = ApiKey::for_test();
        let check = |status, body: &str, said: &str| {
            let error = Error::refused("https://log", &key, status, body.as_bytes()).to_string();
            assert!(error.contains(said), "{error}");
            assert!(error.contains(&status.to_string()), "{error}");
        };
        check(403, r#"{"code":"role_missing","detail":"no"}"#, "role_missing: no");
        check(401, r#"{"code":"unauthenticated","detail":"no"}"#, "cs_0123456789abcdef…");
        check(302, "", "follows nobody");
        check(502, "<html>bad gateway</html>", "<html>bad gateway</html>");
        check(404, "{}", "right address");
        check(200, &"é".repeat(900), "éé");
    }
}
