//! Requests between the replicas of a log, on subjects of the account that the journal has. Nothing of them is stored.

use super::Connection;
use crate::{ident::Ident, journal::Error};
use async_nats::{Client, RequestErrorKind, Subject, Subscriber};
use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use std::time::Duration;
use tokio::time::{error::Elapsed, timeout};

const PREFIX: &str = "countersign-replica.";
/// Largest request and largest answer, in bytes.
const BYTES_MAX: usize = 64 * 1024;

/// In place of a tenant's name, which never begins so: what is about tenants that are not, or no longer, logs.
const ALL_TENANTS: &str = "_";

/// The replicas of one log, by name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    connection: Connection,
    tenant: String,
}

impl Peers {
    /// The replicas of a tenant's log.
    pub fn new(connection: &Connection, tenant: &Ident) -> Self {
        Self { connection: connection.clone(), tenant: tenant.to_string() }
    }

    /// The replicas of an installation.
    pub fn of_installation(connection: &Connection) -> Self {
        Self { connection: connection.clone(), tenant: ALL_TENANTS.into() }
    }

    fn subject(&self, replica: &Ident) -> String {
        format!("{PREFIX}{}.{replica}", self.tenant)
    }

    /// Asks a replica. [`Error::Unavailable`] if nobody of that name is there, [`Error::Unknown`] if it does not answer.
    pub async fn ask(
        &self,
        replica: &Ident,
        body: Vec<u8>,
        wait: Duration,
    ) -> Result<Vec<u8>, Error> {
        let answer = self.connection.client().request(self.subject(replica), body.into());
        match timeout(wait, answer).await {
            Ok(Ok(message)) => Ok(message.payload.into()),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                Err(Error::Unavailable("it is not there".into()))
            }
            Ok(Err(error)) => Err(Error::Unknown(error.to_string())),
            Err(Elapsed { .. }) => Err(Error::Unknown("it does not answer".into())),
        }
    }

    /// Asks several replicas at once. The answers are in the order of the questions.
    pub async fn ask_each(
        &self,
        asked: Vec<(Ident, Vec<u8>)>,
        wait: Duration,
    ) -> Vec<Result<Vec<u8>, Error>> {
        let asked = asked.into_iter();
        join_all(asked.map(async |(name, body)| self.ask(&name, body, wait).await)).await
    }

    /// Asks several replicas at once how they stand, and hands over each answer as it comes, until `take` has enough. `false` if it
    /// never had.
    pub async fn ask_until(
        &self,
        names: impl Iterator<Item = Ident>,
        wait: Duration,
        mut take: impl FnMut(Vec<u8>) -> bool,
    ) -> bool {
        let asked = names.map(async |name| self.ask(&name, Vec::new(), wait).await);
        let mut answers: FuturesUnordered<_> = asked.collect();
        while let Some(answer) = answers.next().await {
            if answer.is_ok_and(&mut take) {
                return true;
            }
        }
        false
    }

    /// What the others ask of `own`, from now on.
    pub async fn requests(&self, own: &Ident) -> Result<Requests, Error> {
        let client = self.connection.client().clone();
        let incoming = client.subscribe(self.subject(own)).await;
        let incoming = incoming.map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Requests { client, incoming })
    }
}

/// Requests of the other replicas.
pub struct Requests {
    client: Client,
    incoming: Subscriber,
}

/// One of them.
pub struct Asked {
    /// Its bytes.
    pub body: Vec<u8>,
    reply: Subject,
}

impl Requests {
    /// Answers them, `at_once` at most at a time, the others in their order. [`Error::Unavailable`] when the connection is closed for good.
    pub async fn answer_all<F: Future<Output = Vec<u8>>>(
        mut self,
        at_once: usize,
        answer: impl Fn(Vec<u8>) -> F,
    ) -> Result<(), Error> {
        let mut answers = FuturesUnordered::new();
        loop {
            tokio::select! {
                asked = self.next(), if answers.len() < at_once => {
                    let mut asked = asked?;
                    let said = answer(std::mem::take(&mut asked.body));
                    answers.push(async move { (asked, said.await) });
                }
                Some((asked, said)) = answers.next() => self.answer(asked, said).await,
            }
        }
    }

    /// The next one. [`Error::Unavailable`] when the connection is closed for good.
    pub async fn next(&mut self) -> Result<Asked, Error> {
        while let Some(request) = self.incoming.next().await {
            if let Some(reply) = request.reply.filter(|_| request.payload.len() <= BYTES_MAX) {
                return Ok(Asked { body: request.payload.into(), reply });
            }
        }
        Err(Error::Unavailable("the connection was closed".into()))
    }

    /// Answers one. A lost answer costs its asker one attempt.
    pub async fn answer(&self, asked: Asked, body: Vec<u8>) {
        if let Err(error) = self.client.publish(asked.reply, body.into()).await {
            tracing::debug!(%error, "an answer to a replica could not be sent");
        }
    }
}
