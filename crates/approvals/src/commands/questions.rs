//! Questions of people who are asked, and their answers. The words are evidence, as a comment is: payload, which can be
//! erased.

use super::{Commands, Done, Error, case::Case, execute::RAW};
use crate::history::Approval;
use decider::{
    Decider as _,
    approval::{Approval as Lifecycle, Auth, Command, Replier, Via, World, producer},
};
use ledger::ident::Ident;
use serde_json::{Map, Value, json};

/// Members of the evidence.
const QUESTION: &str = "question";
const ANSWER: &str = "answer";
/// Stands for the entry with the words while it is decided whether they are written.
const ANY: u64 = 1;

/// A person's question.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The person.
    pub by: Ident,
    /// Where the person asks.
    pub via: Via,
    /// How the person was authenticated.
    pub auth: Auth,
    /// The call digest that was shown.
    pub displayed_dig: String,
    /// The question.
    pub text: String,
    /// The raw request of the chat. It is kept as evidence.
    pub raw: Option<String>,
}

impl Ask {
    fn command(&self, world: World, evidence: u64) -> Command {
        Command::Ask {
            world,
            by: self.by.clone(),
            via: self.via,
            auth: self.auth,
            displayed_dig: self.displayed_dig.clone(),
            evidence,
        }
    }

    /// The parts of the question that are kept as evidence.
    fn evidence(&self) -> Map<String, Value> {
        let body = [(QUESTION, json!(self.text)), ("via", json!(self.via)), ("by", json!(self.by))];
        members(body.into_iter().chain(self.raw.as_ref().map(|raw| (RAW, json!(raw)))))
    }
}

/// The words of a question and of its answer, until they are erased.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// What was asked.
    pub question: Option<String>,
    /// What was answered.
    pub answer: Option<String>,
}

impl Commands {
    /// Records a person's question. The same question again, while it has no answer, changes nothing.
    pub async fn ask(&self, id: &Ident, ask: Ask) -> Result<Done, Error> {
        let case = self.case(id).await?;
        let mine = case.approval.state.questions.iter();
        let open = mine.filter(|other| other.by == ask.by && other.reply.is_none());
        for other in open {
            if self.reader.words(other.evidence, QUESTION)?.as_ref() == Some(&ask.text) {
                return self.as_before(case).await;
            }
        }
        let decided =
            Lifecycle::decide(&case.approval.state, &ask.command(case.world.clone(), ANY));
        let mut evidence = 0;
        if decided.refused.is_none() {
            evidence = self.keep_evidence(id, &ask.evidence()).await?;
        }
        self.execute_on(Some(case), (id, None), |world| ask.command(world, evidence)).await
    }

    /// Records the answer to a question. The same answer by the same again changes nothing.
    pub async fn reply(
        &self,
        id: &Ident,
        number: u32,
        (by, text): (&Replier, &str),
    ) -> Result<Done, Error> {
        let case = self.case(id).await?;
        let name = match by {
            Replier::Gateway(name) => producer(name),
            Replier::Owner(person) => person.to_string(),
        };
        let place = usize::try_from(number).unwrap_or_default().wrapping_sub(1);
        let before = case.approval.state.questions.get(place).and_then(|one| one.reply.as_ref());
        if let Some(before) = before.filter(|before| before.by == name)
            && self.reader.words(before.evidence, ANSWER)?.as_deref() == Some(text)
        {
            return self.as_before(case).await;
        }
        let command =
            |world, evidence| Command::Reply { world, question: number, by: by.clone(), evidence };
        let decided = Lifecycle::decide(&case.approval.state, &command(case.world.clone(), ANY));
        let mut evidence = 0;
        if decided.refused.is_none() {
            let body = [(ANSWER, json!(text)), ("number", json!(number)), ("by", json!(name))];
            evidence = self.keep_evidence(id, &members(body)).await?;
        }
        self.execute_on(Some(case), (id, None), |world| command(world, evidence)).await
    }

    /// The answer to a command whose effect is in the log already.
    async fn as_before(&self, case: Case) -> Result<Done, Error> {
        let Case { approval, frozen, .. } = case;
        self.reader.until_published(approval.last_index()).await?;
        Ok(Done { approval, refused: None, written: false, frozen })
    }
}

impl super::ApprovalReader {
    /// The words of an approval's questions, in their order.
    pub fn asked(&self, approval: &Approval) -> Result<Vec<Words>, Error> {
        let words = |question: &decider::approval::Question| {
            let reply = question.reply.as_ref().map(|reply| self.words(reply.evidence, ANSWER));
            let question = self.words(question.evidence, QUESTION)?;
            Ok(Words { question, answer: reply.transpose()?.flatten() })
        };
        approval.state.questions.iter().map(words).collect()
    }
}

fn members<'a>(body: impl IntoIterator<Item = (&'a str, Value)>) -> Map<String, Value> {
    body.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
