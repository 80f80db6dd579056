//! What may happen: pure decisions over plain data.
//!
//! No clock, no randomness, no I/O, no async: time, ids, people and rules enter as data. The same input gives the same
//! bytes, whoever computes it: a worker now, another worker at the same moment, an auditor in ten years.

pub mod approval;
pub mod call;
pub mod decision;
pub mod quorum;
pub mod rule;

/// A life that is told by events (J. Chassaing's *decider*, 2021).
///
/// Two functions must agree: what [`decide`](Decider::decide) gives is what [`evolve`](Decider::evolve) accepts.
pub trait Decider {
    /// What has become of it.
    type State;
    /// What somebody wants, with everything that the decision needs.
    type Command;
    /// What happened.
    type Event;
    /// Why a command is refused.
    type Refusal;

    /// Before anything happened.
    fn initial() -> Self::State;

    /// What happens on a command. A refusal may come with events: a click after the deadline makes the expiry happen
    /// and is refused. Nothing and no refusal: it had happened already.
    fn decide(state: &Self::State, command: &Self::Command) -> Decided<Self::Event, Self::Refusal>;

    /// The state after an event that the journal took at `at`. Total: an event that can't follow leaves the state and
    /// marks it as corrupt.
    fn evolve(state: Self::State, event: &Self::Event, at: ledger::time::Nanos) -> Self::State;

    /// Whether nothing can change any more.
    fn is_terminal(state: &Self::State) -> bool;
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided<E, R> {
    /// To be appended as one message, in this order; none: nothing is written.
    pub events: Vec<E>,
    /// Why the command itself was not carried out.
    pub refused: Option<R>,
}

impl<E, R> Decided<E, R> {
    /// Carried out: this happens. Nothing in it: it had happened already.
    pub fn events(events: impl Into<Vec<E>>) -> Self {
        Self { events: events.into(), refused: None }
    }

    /// Not carried out; the events happen all the same.
    pub fn refused(why: R, events: impl Into<Vec<E>>) -> Self {
        Self { events: events.into(), refused: Some(why) }
    }
}
