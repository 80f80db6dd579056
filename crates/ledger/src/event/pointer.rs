//! JSON Pointers to what becomes payload.

use std::borrow::Cow;

/// RFC 6901: `parent` with one more reference token.
pub(super) fn pointer(parent: &str, name: &str) -> String {
    let escaped: Cow<'_, str> = if name.contains(['~', '/']) {
        name.replace('~', "~0").replace('/', "~1").into()
    } else {
        name.into()
    };
    format!("{parent}/{escaped}")
}
