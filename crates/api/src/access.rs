//! Who may do what with an approval: one function for each column of `proto/formats/access.md`.

use crate::auth::Caller;
use approvals::{
    history::Approval,
    worker::{Parties, Worker},
};
use ledger::{event::RESERVED_TOOL, ident::Ident, system::Role};

/// A caller of a tenant, before an approval of that tenant.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The tenant's worker.
    pub worker: &'a Worker,
    /// The caller.
    pub caller: &'a Caller,
}

impl<'a> Access<'a> {
    fn is(&self, role: Role) -> bool {
        self.caller.has(&[role])
    }

    /// The producer of a key with this role.
    pub fn producer(&self, role: Role) -> Option<&'a Ident> {
        self.caller.key.producer.as_ref().filter(|_| self.is(role))
    }

    /// The person of a reviewer key, unless the person is disabled.
    pub fn person(&self) -> Option<&'a Ident> {
        let person = self.caller.key.person.as_ref().filter(|_| self.is(Role::Reviewer))?;
        let rules = &self.worker.readiness().rules;
        let active = rules.known().is_ok_and(|setup| setup.active().contains_key(person));
        active.then_some(person)
    }

    /// True if the caller paused the call, with a key of this role.
    fn paused(&self, approval: &impl Parties, role: Role) -> bool {
        let opener = approval.opener();
        opener.is_some() && self.producer(role) == opener
    }

    /// True if the caller writes policies or freezes, and the server itself asks.
    fn proposes(&self, approval: &impl Parties) -> bool {
        let ours = approval.opener().is_some_and(|opener| opener.as_str() == RESERVED_TOOL);
        ours && (self.is(Role::Author) || self.is(Role::Responder))
    }

    /// True if the caller is a person who is asked.
    fn is_asked(&self, approval: &impl Parties) -> bool {
        self.person().is_some_and(|person| self.worker.lists.may_review(person, approval))
    }
}

/// Columns `list` and `state`.
pub fn state(who: &Access<'_>, approval: &impl Parties) -> bool {
    who.is(Role::Auditor)
        || who.is(Role::Admin)
        || who.proposes(approval)
        || token(who, approval)
        || review(who, approval)
}

/// Column `params`.
pub fn params(who: &Access<'_>, approval: &impl Parties) -> bool {
    token(who, approval) || who.is_asked(approval)
}

/// Column `review`: people who are asked, and people who answered.
pub fn review(who: &Access<'_>, approval: &impl Parties) -> bool {
    who.person().is_some_and(|person| page(who.worker, person, approval))
}

/// Column `ask`: people who are asked.
pub fn ask(who: &Access<'_>, approval: &impl Parties) -> bool {
    who.is_asked(approval)
}

/// Column `answer`: the enforcer that paused the call. Owners of the agent answer on the page.
pub fn answer(who: &Access<'_>, approval: &impl Parties) -> bool {
    token(who, approval)
}

/// Columns `token` and `execution`: the enforcer that paused the call.
pub fn token(who: &Access<'_>, approval: &impl Parties) -> bool {
    who.paused(approval, Role::Enforcer)
}

/// Column `cancel`, as the producer that paused the call.
pub fn cancel_own(who: &Access<'_>, approval: &impl Parties) -> bool {
    who.paused(approval, Role::Publisher) || who.paused(approval, Role::Enforcer)
}

/// Column `cancel`.
pub fn cancel(who: &Access<'_>, approval: &impl Parties) -> bool {
    who.is(Role::Admin) || cancel_own(who, approval)
}

/// Columns `revoke` and `revoke token`.
pub fn revoke(who: &Access<'_>, approval: &impl Parties) -> bool {
    who.is(Role::Admin) || who.is_asked(approval)
}

/// Whether a person who is signed in may read an approval's questions and answer them, and nothing else of it: an owner
/// of the agent, once somebody asked.
pub fn questions(worker: &Worker, person: &Ident, approval: &Approval) -> bool {
    !approval.state.questions.is_empty() && worker.lists.owns(person, approval)
}

/// Whether a person who is signed in may see an approval on its page: people who are asked, and people who
/// answered.
pub fn page(worker: &Worker, person: &Ident, approval: &impl Parties) -> bool {
    worker.lists.may_review(person, approval) || approval.answered(person).is_some()
}
