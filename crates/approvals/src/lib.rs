//! Approvals, from the moment a call is paused until its token is redeemed.
//!
//! In scope: rules and people, the worker, the override token, cards in Slack and Teams. Out of scope: what
//! may happen (`decider`), what happened (`ledger`), HTTP (`api`).

pub mod agent_token;
mod bundles;
pub mod cards;
pub mod chats;
pub mod commands;
pub mod deciding;
pub mod display;
pub mod error;
pub mod facts;
pub mod fault;
pub mod history;
mod jws;
pub mod log;
pub mod outbox;
pub mod past;
pub mod search;
pub mod secret;
pub mod setup;
pub mod slack;
pub mod teams;
pub mod token;
pub mod unread;
pub mod worker;
