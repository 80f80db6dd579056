//! What a person may freeze from an approval's page.

use super::{Stop, session::Session};
use crate::app::App;
use approvals::{cards::Card, history::Approval};
use ledger::{
    entry::View,
    foreign,
    system::{Role, freeze::FreezeScope},
};

/// What can be frozen from a page: the name in the form, its words, and the id as it is shown.
pub(super) type Choices = Vec<(&'static str, &'static str, String)>;

/// What this person may freeze of a call. Nothing without the role, and nothing of the server's own calls.
pub(super) fn choices(
    app: &App,
    session: &Session,
    (approval, card): (&Approval, &Card),
) -> Result<Choices, Stop> {
    if card.is_ours() || !is_responder(app, session)? {
        return Ok(Vec::new());
    }
    let targets = targets(session, approval)?;
    let shown = |(scope, id): (FreezeScope, String)| {
        let words = match scope {
            FreezeScope::Agent => "The agent",
            FreezeScope::Session => "The session",
            FreezeScope::Run => "The run",
            FreezeScope::Tool => "The tool, for every agent",
            FreezeScope::Producer => "The gateway: every call that comes through it",
            FreezeScope::Tenant => "Everything",
        };
        (scope.as_str(), words, foreign::name(&id))
    };
    Ok(targets.into_iter().map(shown).collect())
}

/// True if a key of role responder of this person is in force.
fn is_responder(app: &App, session: &Session) -> Result<bool, Stop> {
    let keys = app.ledger.access_keys(&session.tenant)?;
    Ok(keys.iter().any(|key| {
        key.roles.contains(&Role::Responder) && key.person.as_ref() == Some(&session.person)
    }))
}

/// What a call names that can be frozen, from the decision that paused it.
pub(super) fn targets(
    session: &Session,
    approval: &Approval,
) -> Result<Vec<(FreezeScope, String)>, Stop> {
    let opening = approval.state.requested.as_ref().map(|requested| requested.opening.index);
    let log = session.worker.commands.reader_log();
    let entry = log.entry(opening.ok_or(Stop::NotFound)?)?.ok_or(Stop::NotFound)?;
    let view = View::parse(&entry).ok_or(Stop::NotFound)?;
    let text = |path: &[&str]| view.text(path).map(str::to_owned);
    let found = [
        (FreezeScope::Agent, text(&["event", "data", "agent", "id"])),
        (FreezeScope::Session, text(&["event", "data", "agent", "session"])),
        (FreezeScope::Run, text(&["event", "data", "agent", "run"])),
        (FreezeScope::Tool, text(&["event", "data", "tool", "name"])),
        (FreezeScope::Producer, text(&["producer"])),
    ];
    Ok(found.into_iter().filter_map(|(scope, id)| Some((scope, id?))).collect())
}
