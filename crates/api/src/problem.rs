//! Errors on the wire: RFC 9457 `application/problem+json` with stable codes (`proto/errors.md`).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ledger::{journal, ledger::Error as LedgerError, store};
use serde::Serialize;

/// Seconds a caller shall wait before it tries again.
const RETRY_AFTER_SECONDS: u64 = 1;

/// An error answer.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// `urn:countersign:error:<code>`.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// What the caller must do.
    detail: String,
    /// Stable code.
    code: &'static str,
    /// `unknown` when the request may have been carried out: repeating it is safe.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
}

/// Every code, its status and title.
pub const CODES: &[(&str, u16, &str)] = &[
    ("bad_request", 400, "The request is not as documented"),
    ("body_syntax", 400, "The body can't be read as events"),
    ("unauthenticated", 401, "No valid API key"),
    ("role_missing", 403, "The key does not carry the role"),
    ("not_found", 404, "Nothing here"),
    ("method_not_allowed", 405, "Not this method"),
    ("conflict", 409, "It exists already, or has moved on"),
    ("too_big", 413, "The body is too big"),
    ("too_many_events", 413, "Too many events in one request"),
    ("unsupported_media_type", 415, "This content type is not read"),
    ("internal", 500, "The server failed"),
    ("busy", 503, "Too much is waiting"),
    ("outcome_unknown", 503, "It is not known whether it was done"),
    ("log_halted", 503, "The log stands still"),
    ("journal_unavailable", 503, "The journal is not available"),
    ("shutting_down", 503, "The server is stopping"),
];

impl Problem {
    /// A problem with one of [`CODES`].
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let known = CODES.iter().find(|(known, _, _)| *known == code);
        let (_, status, title) = known.expect("a code of the table");
        let outcome = (code == "outcome_unknown").then_some("unknown");
        let kind = format!("urn:countersign:error:{code}");
        Self { kind, title, status: *status, detail: detail.into(), code, outcome }
    }

    /// The one answer for what does not exist and for what is somebody else's.
    pub fn not_found() -> Self {
        Self::new("not_found", "There is nothing at this address for this key.")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        if self.status == 503 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Journal(error) => error.into(),
            LedgerError::Store(error) => error.into(),
            LedgerError::Halted(_) => Self::new(
                "log_halted",
                "This log was stopped because its integrity is in doubt. Its operator must act; nothing was written.",
            ),
            LedgerError::Busy => Self::new(
                "busy",
                "Too much is waiting for this tenant. Nothing was written; try again.",
            ),
            LedgerError::Unknown => Self::new(
                "outcome_unknown",
                "No answer in time. Repeat the same request: events are posted once, whatever happened.",
            ),
            LedgerError::Setup(text) => Self::new("conflict", text),
            LedgerError::Guard(_) | LedgerError::Keys(_) => {
                tracing::error!(%error, "request failed");
                Self::new(
                    "internal",
                    "The server failed; its operator finds the reason in the log.",
                )
            }
        }
    }
}

impl From<journal::Error> for Problem {
    fn from(error: journal::Error) -> Self {
        match error {
            journal::Error::Conflict => {
                Self::new("conflict", "Another change came first. Read again and decide anew.")
            }
            journal::Error::TooBig { .. } => Self::new("too_big", error.to_string()),
            journal::Error::Unavailable(_) => {
                tracing::warn!(%error, "journal unavailable");
                Self::new(
                    "journal_unavailable",
                    "The journal is not available. Nothing was written; try again.",
                )
            }
            journal::Error::Unknown(_) => Self::new(
                "outcome_unknown",
                "The journal did not answer in time. Repeat the same request: events are posted once.",
            ),
            journal::Error::Halt(_) => {
                tracing::error!(%error, "journal refused");
                Self::new("log_halted", "The journal is not as it must be; its operator must act.")
            }
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        tracing::error!(%error, "reading failed");
        Self::new(
            "internal",
            "The server could not read its store; its operator finds the reason in the log.",
        )
    }
}
