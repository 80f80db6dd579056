//! What the log says of lists: their versions, files and items.

use crate::{
    app::App,
    problem::{Code, Problem},
};
use approvals::{
    deciding::{Loaded, content},
    worker::Worker,
};
use decider::policy::items_of;
use ledger::{
    entry::View, foreign::word, post::ListInForce, system::policy::ListForm, tenant::Tenant,
};
use std::{collections::BTreeSet, sync::Arc};

/// The policies in force, which name a list of this name or have entries of it. Another server may have shown the caller a newer one.
pub(super) async fn naming(
    app: &App,
    tenant: &Tenant,
    worker: &Worker,
    name: &str,
) -> Result<Arc<Loaded>, Problem> {
    let knows =
        |loaded: &Loaded| loaded.bundle.items(name).is_some() || loaded.lists.contains_key(name);
    if let Some(loaded) = in_force(worker)?.filter(|loaded| knows(loaded)) {
        return Ok(loaded);
    }
    app.ledger.catch_up(tenant).await?;
    in_force(worker)?.ok_or_else(|| unknown(name))
}

/// Visits the versions of a list that were in force, the newest first, until `visit` returns true.
pub(super) fn walk(
    app: &App,
    tenant: &Tenant,
    list: Option<&ListInForce>,
    mut visit: impl FnMut(u64, &ListForm) -> bool,
) -> Result<(), Problem> {
    let mut next = list.map(|list| list.list);
    while let Some(index) = next {
        let entry = app.ledger.entry(tenant, index)?.unwrap_or_default();
        let Some(form) = View::parse(&entry).as_ref().and_then(ListForm::of) else { break };
        if visit(index, &form) {
            break;
        }
        next = (form.version > 1).then_some(form.replaces);
    }
    Ok(())
}

/// The file that the part at `index` holds.
pub(super) fn file_at(worker: &Worker, name: &str, index: u64) -> Result<String, Problem> {
    let content =
        tokio::task::block_in_place(|| content(worker.commands.reader_log(), name, index));
    content.map_err(|why| Problem::new(Code::PolicyUnreadable, format!("{why}.")))
}

/// The items in the file that the part at `part` holds.
pub(super) fn items_in(
    worker: &Worker,
    name: &str,
    part: u64,
) -> Result<BTreeSet<String>, Problem> {
    let content = file_at(worker, name, part)?;
    items_of(name, &content)
        .map_err(|first| Problem::new(Code::PolicyUnreadable, format!("{first}.")))
}

/// The policies in force.
pub(super) fn in_force(worker: &Worker) -> Result<Option<Arc<Loaded>>, Problem> {
    Ok(tokio::task::block_in_place(|| worker.desk.in_force())?)
}

/// That there is no such list.
pub(super) fn unknown(name: &str) -> Problem {
    let detail = format!(
        "The policies in force have no list {}: add lists/<name>.yaml to a bundle first.",
        word(name)
    );
    Problem::new(Code::NotFound, detail)
}
