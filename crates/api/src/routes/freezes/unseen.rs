//! Whether what was frozen is known here. A misspelt name stops nothing, and nobody would notice.

use crate::app::App;
use ledger::{
    entry::View,
    foreign::word,
    ident::Ident,
    json::Value,
    post::ALL_DAYS,
    system::freeze::{FreezeScope, Target},
    tenant::Tenant,
};

/// Newest entries that are searched for the name. Older ones are known by the files, the keys and the counts.
const READ_MAX: u64 = 1_000;

/// What whoever froze this must know: one sentence or two for each name that nobody has used. Empty if all are known.
pub(super) fn warnings(app: &App, tenant: &Tenant, target: &Target) -> Vec<String> {
    let producer = target.producer.as_ref().map(|name| (FreezeScope::Producer, name.as_str()));
    let named = [(target.scope, target.id.as_str())].into_iter().chain(producer);
    named.filter_map(|(scope, name)| warning(app, tenant, scope, name)).collect()
}

/// `None` if the name is known. What can't be read says nothing: the freeze is in force in any case.
fn warning(app: &App, tenant: &Tenant, scope: FreezeScope, name: &str) -> Option<String> {
    let worker = app.worker(&tenant.name);
    let loaded = worker.and_then(|worker| worker.desk.in_force().ok().flatten());
    let bundle = loaded.as_ref().map(|loaded| &loaded.bundle);
    let (listed, like, sort, place, look) = match scope {
        FreezeScope::Agent => (
            bundle.is_some_and(|bundle| bundle.has_agent(name)),
            bundle.and_then(|bundle| bundle.agent_like(name)),
            "agent",
            "agents.yaml of the policies in force",
            "agents.yaml lists them",
        ),
        FreezeScope::Tool => (
            bundle.is_some_and(|bundle| bundle.has_tool(name)),
            bundle.and_then(|bundle| bundle.tool_like(name)),
            "tool",
            "tools.yaml of the policies in force",
            "tools.yaml lists them",
        ),
        FreezeScope::Producer => {
            let keys = app.ledger.access_keys(tenant).unwrap_or_default();
            let is_it = |producer: &Ident| producer.as_str() == name;
            let listed = keys.iter().any(|key| key.producer.as_ref().is_some_and(is_it));
            (
                listed,
                None,
                "producer",
                "the keys in force",
                "an admin lists them (`countersign key list`)",
            )
        }
        // Their ids are made by machines, and nowhere listed.
        FreezeScope::Session | FreezeScope::Run | FreezeScope::Tenant => return None,
    };
    if listed || is_counted(app, tenant, scope, name) || is_recent(app, tenant, scope, name) {
        return None;
    }
    let like = like.map(|like| format!(" Did you mean {}?", word(like))).unwrap_or_default();
    Some(format!(
        "There is no {sort} {name} in {place}, and none was seen: nothing is stopped if it is misspelt.{like} Ids are \
         compared byte for byte; {look}.",
        name = word(name)
    ))
}

/// True if a decision of any day named it. Only the first values of a name have counts, and only agents that were denied.
fn is_counted(app: &App, tenant: &Tenant, scope: FreezeScope, name: &str) -> bool {
    let counted = match scope {
        FreezeScope::Agent => "denied_agent",
        FreezeScope::Tool => "tool",
        _ => "producer",
    };
    let days = app.ledger.counts(tenant, (ALL_DAYS, ALL_DAYS)).unwrap_or_default();
    let of = days.get(&ALL_DAYS).and_then(|day| day.get(counted));
    of.is_some_and(|of| of.values.contains_key(name))
}

/// True if one of the newest entries names it.
fn is_recent(app: &App, tenant: &Tenant, scope: FreezeScope, name: &str) -> bool {
    let path: &[&str] = match scope {
        FreezeScope::Agent => &["event", "data", "agent", "id"],
        FreezeScope::Tool => &["event", "data", "tool", "name"],
        _ => &["producer"],
    };
    let published = tenant.published();
    let pruned = published.pruned.as_ref().map_or(0, |pruned| pruned.size);
    let from = published.size.saturating_sub(READ_MAX).max(pruned);
    let mut is_there = false;
    let read = app.ledger.entries(tenant, (from, published.size), |_, entry| {
        let Some(view) = View::parse(entry) else { return };
        let chain =
            view.at(&["event", "data", "agent", "chain"]).filter(|_| scope == FreezeScope::Agent);
        let mut chain = chain.and_then(Value::as_array).unwrap_or_default().iter();
        is_there |= view.text(path) == Some(name) || chain.any(|one| one.as_str() == Some(name));
    });
    read.is_ok() && is_there
}
