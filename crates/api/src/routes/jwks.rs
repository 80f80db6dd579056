//! The keys that verify override tokens, for whoever wants to look at a token without us.

use crate::{app::App, problem::Problem};
use approvals::token;
use axum::{
    extract::{Path, State},
    http::{HeaderValue, header},
    response::Response,
};
use std::sync::Arc;

/// How long a key set may be kept by anybody. A new key signs at once: an unknown key id is a reason to fetch again.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The keys that verify override tokens, as a JWK set
///
/// Public. A tenant that does not exist has an empty set: the same status and headers.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/jwks.json", tag = "approvals",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Object, content_type = "application/jwk-set+json"), (status = "4XX", body = Problem)),
    security(()))]
pub async fn jwks(State(app): State<Arc<App>>, Path(tenant): Path<String>) -> Response {
    let keys = app.ledger.tenant(&tenant).map(|tenant| tenant.published().keys.token());
    let set = token::jwks(&keys.unwrap_or_default()).to_string();
    let mut response = super::text("application/jwk-set+json", set);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHE);
    response
}
