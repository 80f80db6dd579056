//! Decides what may happen: pure functions over plain data.
//!
//! No clock, no randomness, no I/O, no async: time, ids, people and rules come in as data. The same input
//! gives the same bytes for everybody: a worker now, another worker at the same moment, an auditor in ten
//! years.

pub mod approval;
pub mod call;
pub mod decision;
pub mod passkey;
pub mod policy;
pub mod quorum;
pub mod rule;
pub mod watch;
pub mod words;

/// A life cycle that consists of events (J. Chassaing's *decider*, 2021).
///
/// Two functions must agree: [`evolve`](Decider::evolve) accepts every event that [`decide`](Decider::decide)
/// gives.
pub trait Decider {
    /// State, folded from the events.
    type State;
    /// A command, with everything that is needed to decide it.
    type Command;
    /// Something that happened.
    type Event;
    /// Why a command is refused.
    type Refusal;

    /// The state before any event.
    fn initial() -> Self::State;

    /// The events that a command causes. A refusal may come with events: a click after the deadline makes the
    /// expiry happen and is refused. No events and no refusal mean that the effect is already in the log.
    fn decide(state: &Self::State, command: &Self::Command) -> Decided<Self::Event, Self::Refusal>;

    /// The state after an event with `journal.time` `at`. Total: an event that can't follow marks the state as
    /// corrupt and changes nothing else.
    fn evolve(state: Self::State, event: &Self::Event, at: ledger::time::Nanos) -> Self::State;

    /// True if nothing can change any more.
    fn is_terminal(state: &Self::State) -> bool;
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided<E, R> {
    /// Events to append as one message, in this order. If empty, write nothing.
    pub events: Vec<E>,
    /// Why the command itself was refused.
    pub refused: Option<R>,
}

impl<E, R> Decided<E, R> {
    /// The command is accepted and causes these events. No events mean that its effect is already in the log.
    pub fn events(events: impl Into<Vec<E>>) -> Self {
        Self { events: events.into(), refused: None }
    }

    /// The command is refused. The events happen all the same.
    pub fn refused(why: R, events: impl Into<Vec<E>>) -> Self {
        Self { events: events.into(), refused: Some(why) }
    }
}
