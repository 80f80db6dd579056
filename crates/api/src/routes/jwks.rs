//! The keys that verify override tokens and tokens of agents, for everybody who wants to check a token without us.

use crate::{app::App, problem::Problem};
use approvals::token;
use axum::{
    extract::{Path, State},
    http::{HeaderValue, header},
    response::Response,
};
use hmac::{Hmac, Mac as _};
use ledger::{
    ident::Ident,
    log::note::{Signer, Vkey},
};
use sha2::Sha256;
use std::sync::Arc;

/// Prefix of the text from which a decoy is made.
const DECOY: &[u8] = b"countersign-decoy-v1\0";
/// How long a key set may be cached. A new key signs at once, so an unknown key id is a reason to fetch the
/// set again.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// A key that signs nothing, for a tenant that does not exist. A name always gives the same key.
fn decoy(app: &App, nobody: &Ident) -> Vkey {
    let mac = Hmac::<Sha256>::new_from_slice(app.decoy_key.as_ref());
    let mac = mac.expect("HMAC takes keys of every length");
    let seed = mac.chain_update(DECOY).chain_update(nobody.as_str()).finalize().into_bytes();
    Signer::new(nobody.as_str(), &seed.into()).vkey().clone()
}

/// The keys that verify override tokens and tokens of agents, as a JWK set
///
/// Public. Every name that a tenant can have has keys: nobody learns here which tenants exist. A name that none can have
/// has an empty set.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/jwks.json", tag = "approvals",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Object, content_type = "application/jwk-set+json"), (status = "4XX", body = Problem)),
    security(()))]
pub async fn jwks(State(app): State<Arc<App>>, Path(tenant): Path<String>) -> Response {
    let keys = match (app.ledger.tenant(&tenant), Ident::new(&tenant)) {
        (Some(tenant), Ok(nobody)) if tenant.is_deleted() => vec![decoy(&app, &nobody)],
        (Some(tenant), _) => {
            let keys = &tenant.published().keys;
            [keys.token(), keys.agent()].concat()
        }
        (None, Ok(nobody)) => vec![decoy(&app, &nobody)],
        (None, Err(_)) => Vec::new(),
    };
    let set = token::jwks(&keys).to_string();
    let mut response = super::text("application/jwk-set+json", set);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHE);
    response
}
