//! Files that the pages need, embedded in the binary. Each name holds the content's hash, so files are cached
//! for ever.

use axum::{
    extract::Path,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256, Sha384};
use std::sync::LazyLock;

/// One embedded file.
pub struct Asset {
    /// Path at which it is served: `/assets/<name>-<hash>.<ending>`.
    pub path: String,
    /// Hash for subresource integrity.
    pub integrity: String,
    kind: &'static str,
    bytes: &'static [u8],
}

/// All embedded files.
pub struct Assets {
    /// The style sheet.
    pub css: Asset,
    /// htmx 2.0.11 (`assets/README.md`).
    pub htmx: Asset,
    /// Shows times in the reader's zone.
    pub local: Asset,
    /// Signs with passkeys.
    pub passkey: Asset,
    /// The icon of the site.
    pub icon: Asset,
}

/// The embedded files, hashed once.
pub static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    css: Asset::new("countersign", "css", CSS, include_bytes!("../../assets/countersign.css")),
    htmx: Asset::new("htmx", "js", JS, include_bytes!("../../assets/htmx-2.0.11.min.js")),
    local: Asset::new("local", "js", JS, include_bytes!("../../assets/local.js")),
    passkey: Asset::new("passkey", "js", JS, include_bytes!("../../assets/passkey.js")),
    icon: Asset::new("icon", "svg", SVG, include_bytes!("../../assets/icon.svg")),
});

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

impl Asset {
    fn new(name: &str, ending: &str, kind: &'static str, bytes: &'static [u8]) -> Self {
        let hash = &HEXLOWER.encode(&Sha256::digest(bytes))[..16];
        let integrity = format!("sha384-{}", BASE64.encode(&Sha384::digest(bytes)));
        Self { path: format!("/assets/{name}-{hash}.{ending}"), integrity, kind, bytes }
    }
}

/// `GET /assets/{name}`: public.
pub async fn serve(Path(name): Path<String>) -> Response {
    let Assets { css, htmx, local, passkey, icon } = &*ASSETS;
    let found = [css, htmx, local, passkey, icon].into_iter().find(|asset| asset.path[8..] == name);
    let Some(asset) = found else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn htmx_is_the_pinned_one() {
        let pinned = include_str!("../../assets/README.md");
        assert!(pinned.contains(&format!("`{}`", ASSETS.htmx.integrity)));
    }
}
