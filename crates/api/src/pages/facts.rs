//! What the log says of earlier calls like one on a page, as far as its reader may know them.

use super::{Stop, session::Session};
use crate::access;
use approvals::{
    cards::Card,
    commands::{EarlierCalls, MayKnow},
    facts::Facts,
    history::Approval,
    worker::Brief,
};

/// The facts about one call.
pub async fn of(session: &Session, approval: &Approval, card: &Card) -> Result<Facts, Stop> {
    Ok(together(session, &[(approval, card)]).await?.pop().unwrap_or_default())
}

/// Facts about the calls of one page.
pub async fn together(session: &Session, all: &[(&Approval, &Card)]) -> Result<Vec<Facts>, Stop> {
    let brief = |brief: &Brief| access::page(&session.worker, &session.person, brief);
    let may = MayKnow { brief: &brief, whole: &|_| true };
    Ok(EarlierCalls::new(session.worker.cards(), may).facts(all).await?)
}
