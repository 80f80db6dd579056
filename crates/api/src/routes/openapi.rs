//! The OpenAPI document, made from the handlers; `proto/openapi.json` is its checked-in copy.

use super::{
    approvals, clock, entries, events, jwks, keys, log, opa, operate, receipts, rules, slack,
    teams, tokens,
};
use axum::response::Response;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Countersign", description = "Proof and human approval for what AI agents do.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        events::publish, opa::logs, opa::logs_partition, log::checkpoint, log::tile, log::keys, receipts::receipt,
        receipts::consistency, entries::feed, entries::entry, entries::disclosures, keys::add, keys::list,
        keys::remove, keys::rotate, operate::create_tenant, operate::erase, clock::reset, operate::backup, operate::healthz,
        operate::readyz, operate::metrics, jwks::jwks, approvals::open,
        approvals::list, approvals::one, approvals::review, approvals::token, approvals::back::cancel, approvals::back::revoke,
        approvals::back::revoke_token, approvals::execution, tokens::redeem, rules::show, rules::apply, teams::messages,
        slack::interactions,
    ),
    modifiers(&BearerKey))]
struct Document;

struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("cs_…").build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The document as JSON text.
pub fn document() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// `GET /openapi.json`.
pub async fn serve() -> Response {
    super::text("application/json", document())
}

#[cfg(test)]
mod tests {
    /// After a change: `countersign openapi > proto/openapi.json`.
    #[test]
    fn the_checked_in_copy_is_this_one() {
        assert_eq!(super::document(), include_str!("../../../../proto/openapi.json"));
    }
}
