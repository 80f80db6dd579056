//! The OpenAPI document, made from the handlers; `proto/openapi.json` is its checked-in copy.

use super::{
    accounts, agents, alerts, approvals, budgets, clock, copies, counts, decisions, entries,
    erasures, events, freezes, health, incidents, jwks, keys, lists, log, opa, operate, passkeys,
    policies, receipts, replicas, results, retention, rules, sinks, slack, sources, teams, tokens,
};
use axum::response::Response;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, PathItem, Ref, RefOr, Response as Documented, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Countersign", description = "Proof and human approval for AI agents' calls.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        events::publish, decisions::decide, results::result, alerts::show, alerts::close, incidents::show, incidents::open, incidents::note, incidents::close, incidents::export::export, freezes::show, freezes::freeze, freezes::lift, agents::issue, agents::list, agents::revoke::all, agents::revoke::one, policies::status, policies::version, policies::opa::bundle, policies::propose, policies::rollback, lists::all, lists::one, lists::version, lists::change, opa::logs, opa::logs_partition, log::checkpoint, log::tile, log::keys, receipts::receipt,
        receipts::consistency, entries::feed, entries::entry, entries::disclosures, keys::add, keys::list,
        keys::remove, keys::rotate, passkeys::add, accounts::add, operate::create_tenant, erasures::erase, erasures::one, clock::reset, operate::backup, replicas::show, replicas::change, copies::make, copies::piece, copies::remove, copies::checkpoint, copies::keys, copies::tile, health::healthz,
        health::livez, health::readyz, health::tenant_readyz, health::metrics, serve, jwks::jwks, approvals::open,
        approvals::list, approvals::one, approvals::review, approvals::questions::ask, approvals::questions::answer, approvals::token, approvals::withdraw::cancel, approvals::withdraw::revoke,
        approvals::withdraw::revoke_token, approvals::execution, tokens::redeem, rules::show, rules::apply, teams::messages,
        slack::interactions, sources::show, sources::declare, sinks::all, sinks::test, sinks::letters, sinks::resend, budgets::all, counts::show, retention::deletion::delete, retention::pruning::prune, retention::show, retention::set, retention::hold, retention::release,
    ),
    modifiers(&BearerKey, &Problems))]
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

/// Adds to every operation that it may fail with a problem (`proto/errors.md`). The 503 of a health check is
/// not a problem.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            let responses = &mut operation.responses.responses;
            responses.retain(|status, response| status != "503" || is_an_answer(response));
            for (status, description) in [
                ("4XX", "Refused: the request must change"),
                ("5XX", "Try again later, or tell the operator"),
            ] {
                let content = Content::new(Some(Ref::from_schema_name("Problem")));
                let problem = ResponseBuilder::new().description(description);
                let problem = problem.content("application/problem+json", content).build();
                responses.insert(status.into(), RefOr::T(problem));
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, delete, .. } = item;
    [get, post, delete].into_iter().flatten()
}

/// True if its body is not a problem.
fn is_an_answer(response: &RefOr<Documented>) -> bool {
    let RefOr::T(response) = response else { return true };
    response.content.values().any(|content| {
        let RefOr::T(content) = content else { return true };
        !matches!(&content.schema, Some(RefOr::Ref(to)) if to.ref_location.ends_with("/Problem"))
    })
}

/// The document as JSON text.
pub fn document() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "operation", responses((status = 200, body = Object)))]
pub async fn serve() -> Response {
    super::text("application/json", document())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Path and methods of each `.route(…)` of the router are those of the document.
    #[test]
    fn every_route_is_documented() {
        let source = include_str!("../routes.rs").replace(char::is_whitespace, "");
        let (tenant, rest) = source.split_once(".nest(").unwrap();
        let mut routed = BTreeSet::new();
        for (part, before) in [(tenant, "/v1/tenants/{tenant}"), (rest, "")] {
            for route in part.split(".route(\"").skip(1) {
                let (path, handlers) = route.split_once("\",").unwrap();
                let handlers = handlers.split(';').next().unwrap();
                let path = format!("{before}{}", path.replace("{*", "{"));
                for method in ["get", "post", "delete", "put", "patch"] {
                    if format!(".{handlers}").contains(&format!(".{method}(")) {
                        routed.insert(format!("{method} {path}"));
                    }
                }
            }
        }
        let document: serde_json::Value = serde_json::from_str(&super::document()).unwrap();
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            documented.extend(item.as_object().unwrap().keys().map(|m| format!("{m} {path}")));
        }
        assert_eq!(routed, documented);
    }

    /// After a change: `countersign openapi > proto/openapi.json`.
    #[test]
    fn the_checked_in_copy_is_this_one() {
        assert_eq!(super::document(), include_str!("../../../../proto/openapi.json"));
    }
}
