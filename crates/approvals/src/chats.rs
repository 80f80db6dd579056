//! The port of chats: what the outbox needs of each of them, and the opened ones by name. A chat is a room of
//! its own (`slack`, `teams`) that implements [`Chat`]; the server registers it by the name of its connection.

use crate::{
    cards::{Card, Notice, Overflow, Posted, SendError},
    setup::Person,
};
use futures_util::future::BoxFuture;
use ledger::ident::Ident;
use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

/// A call to a chat, while it is on its way.
pub type Sending<'a, T> = BoxFuture<'a, Result<T, SendError>>;

/// One connection to a chat, as the outbox sees it. Each call ends within 25 s.
pub trait Chat: Send + Sync {
    /// Posts a card to a channel or a person, as the channels table names them.
    fn post<'a>(&'a self, to: &'a str, card: &'a Card) -> Sending<'a, Posted>;

    /// Posts the one message that stands for many cards.
    fn post_overflow<'a>(&'a self, to: &'a str, card: &'a Overflow) -> Sending<'a, Posted>;

    /// Updates that message.
    fn update_overflow<'a>(&'a self, posted: &'a Posted, card: &'a Overflow) -> Sending<'a, ()>;

    /// Posts words without buttons: in the thread of the message `under`, if there is one and the chat has threads.
    fn notify<'a>(
        &'a self,
        to: &'a str,
        notice: &'a Notice,
        under: Option<&'a Posted>,
    ) -> Sending<'a, Posted>;

    /// Updates a posted card to the present state of its approval.
    fn update<'a>(&'a self, posted: &'a Posted, card: &'a Card) -> Sending<'a, ()>;

    /// Searches for the card of an approval, or for a notice or an overflow card by its id, after a post whose outcome is unknown. A chat that can't search
    /// finds nothing.
    fn find<'a>(&'a self, to: &'a str, approval: &'a Ident) -> Sending<'a, Option<Posted>>;

    /// Where this connection reaches a person by a direct message.
    fn direct(&self, person: &Person) -> Vec<String>;
}

/// Opened connections, by name.
pub type ByName = BTreeMap<Ident, Arc<dyn Chat>>;

/// The opened chats of the server. They may be replaced while it runs, all at once.
#[derive(Default)]
pub struct Chats(RwLock<Arc<ByName>>);

impl Chats {
    /// Uses these connections from the next message on. Messages on their way keep the old ones.
    pub fn replace(&self, opened: ByName) {
        *self.0.write().expect("no holder of the lock panics") = Arc::new(opened);
    }

    /// The connections of now.
    pub(crate) fn now(&self) -> Arc<ByName> {
        Arc::clone(&self.0.read().expect("no holder of the lock panics"))
    }

    /// The connection with this name.
    pub fn get(&self, name: &Ident) -> Option<Arc<dyn Chat>> {
        self.now().get(name).map(Arc::clone)
    }
}
