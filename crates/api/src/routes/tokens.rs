//! Redeems override tokens.

use super::approvals::{Asking, View};
use crate::{
    app::App,
    body,
    problem::{Code, Problem},
};
use approvals::worker::{CallInHand, RedeemRequest};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use decider::approval::Refusal;
use ledger::{ident::Ident, json, system::Role};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Largest request: parameters as large as an event's, and the token.
const REDEEM_BYTES_MAX: usize = ledger::journal::BODY_BYTES_MAX + (32 << 10);

/// A token to redeem, and the call.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// The token as it was minted.
    token: String,
    /// Your own id of this redemption, 1 to 128 characters; the same in every retry.
    redemption_id: String,
    /// The whole call; a digest alone is refused.
    call: CallBody,
}

/// A call; `run` is null or absent where there is none. The `frozen` call of an approval can be sent as it is.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallBody {
    nonce: String,
    agent: String,
    #[serde(default)]
    run: Option<String>,
    tool: String,
    action: String,
    #[schema(value_type = Object)]
    params: Box<RawValue>,
    /// 1, as in the frozen call; may be left out.
    #[serde(default)]
    v: Option<u64>,
    /// The tenant of the address, as in the frozen call; may be left out.
    #[serde(default)]
    tenant: Option<String>,
}

impl CallBody {
    /// True if the members that a frozen call has beside the call are right.
    fn fits(&self, tenant: &Ident) -> bool {
        self.v.is_none_or(|v| v == 1)
            && self.tenant.as_ref().is_none_or(|named| named == tenant.as_str())
    }
}

/// Result of a redemption.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Redeemed {
    /// The frozen call in RFC 8785 form: execute exactly this.
    #[schema(value_type = Object)]
    call: Box<RawValue>,
    /// The approval as it is now.
    approval: View,
}

/// Redeem a token once; repeating with the same redemption id is safe (the enforcer for which it was minted)
#[utoipa::path(post, path = "/v1/tenants/{tenant}/tokens/redeem", tag = "approvals",
    params(("tenant" = String, Path)), request_body = Redeem,
    responses((status = 200, body = Redeemed), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn redeem(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Redeemed>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let enforcer = asking.access().producer(Role::Enforcer).ok_or_else(Problem::not_found)?;
    let bytes = app.bodies.read(&headers, body, REDEEM_BYTES_MAX).await?;
    let wrong = |detail: String| Problem::new(Code::BadRequest, detail);
    json::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    let redeem: Redeem =
        serde_json::from_slice(&bytes).map_err(|error| wrong(body::wrong(&error)))?;
    if !redeem.call.fits(&asking.tenant.name) {
        let detail = "call: `v` is 1 and `tenant` that of the address, or leave them out.";
        return Err(wrong(detail.into()));
    }
    let params = json::parse(redeem.call.params.get().as_bytes());
    let params = params.map_err(|error| wrong(format!("call.params: {error}")))?;
    let call = CallInHand {
        nonce: &redeem.call.nonce,
        agent: &redeem.call.agent,
        run: redeem.call.run.as_deref(),
        tool: &redeem.call.tool,
        action: &redeem.call.action,
        params: &params,
    };
    let (token, redemption_id) = (redeem.token.as_str(), redeem.redemption_id.as_str());
    let request = RedeemRequest { token, redemption_id, call };
    let redeemed = asking.worker.tokens.redeem(enforcer, &request).await?;
    let approval = &redeemed.done.approval;
    if let Some(refusal) = redeemed.done.refused {
        let problem = asking.view(approval)?.refusal(refusal);
        let digests = format!("The call that you sent has the digest {}.", redeemed.digest);
        let other = refusal == Refusal::DigestMismatch;
        return Err(if other { problem.also(&digests) } else { problem });
    }
    let view = View::new(&asking.worker, approval, redeemed.frozen.as_ref())?;
    let call = redeemed.frozen.and_then(|frozen| RawValue::from_string(frozen.canonical).ok());
    let gone =
        || Problem::new(Code::Conflict, "It was redeemed; its parameters were erased since.");
    Ok(Json(Redeemed { call: call.ok_or_else(gone)?, approval: view }))
}
