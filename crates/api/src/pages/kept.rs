//! What a person typed while signed out, on the way through a sign-in elsewhere: at a provider, or with a passkey. It is a
//! cookie of this browser, for a quarter of an hour, and for one approval: whoever is signed out fills no memory here.

use super::{
    session::{self, TYPED_BYTES_MAX},
    typed::Typed,
};
use crate::{app::App, sessions::PROVIDER_SECONDS};
use axum::http::{HeaderMap, HeaderValue};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

/// End of the cookie's name.
const NAME: &str = "-typed";

/// It does not fit into a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Content of the cookie.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(rename = "a")]
    approval: String,
    #[serde(rename = "c")]
    comment: String,
    #[serde(rename = "r")]
    reason: String,
    #[serde(rename = "f")]
    for_agent: String,
}

/// The cookie of what was typed beside an answer, as a `Set-Cookie` header. `None` if nothing was typed.
pub fn cookie(app: &App, approval: &str, typed: &Typed) -> Result<Option<HeaderValue>, TooLong> {
    if typed.is_empty() {
        return Ok(None);
    }
    let value = write(approval, typed)?;
    Ok(session::set_cookie(app, NAME, &value, PROVIDER_SECONDS))
}

/// What was typed for this approval, and the header that forgets it.
pub fn take(
    app: &App,
    headers: &HeaderMap,
    approval: &str,
) -> Option<(Typed, Option<HeaderValue>)> {
    let name = session::cookie_name(app, NAME);
    let typed = session::typed(headers, &name).find_map(|value| read(approval, value))?;
    Some((typed, forget(app)))
}

/// The header that forgets what was typed.
pub fn forget(app: &App) -> Option<HeaderValue> {
    session::set_cookie(app, NAME, "", 0)
}

fn write(approval: &str, typed: &Typed) -> Result<String, TooLong> {
    let Typed { comment, reason, for_agent } = typed.clone();
    let kept = Kept { approval: approval.to_owned(), comment, reason, for_agent };
    let value = BASE64URL_NOPAD.encode(&serde_json::to_vec(&kept).map_err(|_| TooLong)?);
    if value.len() <= TYPED_BYTES_MAX { Ok(value) } else { Err(TooLong) }
}

fn read(approval: &str, value: &str) -> Option<Typed> {
    let bytes = BASE64URL_NOPAD.decode(value.as_bytes()).ok()?;
    let kept: Kept =
        serde_json::from_slice(&bytes).ok().filter(|kept: &Kept| kept.approval == approval)?;
    let typed = Typed { comment: kept.comment, reason: kept.reason, for_agent: kept.for_agent };
    typed.cut().checked().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(comment: &str) -> Typed {
        let (reason, for_agent) = ("duplicate".into(), "Ask \u{645}\u{631}\u{629}".into());
        Typed { comment: comment.into(), reason, for_agent }
    }

    #[test]
    fn p7_what_was_typed_is_for_one_approval() {
        let value = write("apr-1", &typed("first line\nsecond")).unwrap();
        let found = read("apr-1", &value).unwrap();
        assert_eq!(found.comment, "first line\nsecond");
        assert_eq!((found.reason.as_str(), found.for_agent), ("duplicate", typed("").for_agent));
        assert!(read("apr-2", &value).is_none() && read("apr-1", &value[1..]).is_none());
        assert!(read("apr-1", "").is_none());
    }

    #[test]
    fn p13_a_text_that_fits_no_cookie_is_not_kept() {
        assert!(write("apr-1", &typed(&"x".repeat(2_000))).is_ok());
        assert_eq!(write("apr-1", &typed(&"\u{645}".repeat(2_000))), Err(TooLong));
    }
}
