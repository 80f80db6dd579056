//! Reads one TOML file, and reports every mistake in it at once, each with its line.

use serde::{Deserialize, de::DeserializeOwned};
use std::{cell::RefCell, ops::Range};
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

/// A file that is being read.
pub(super) struct File<'a> {
    path: &'a str,
    text: &'a str,
    /// Tables are read one inside the other, and each may find mistakes.
    mistakes: RefCell<Vec<(usize, String)>>,
}

impl<'a> File<'a> {
    /// `path` begins the text of each mistake.
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        Self { path, text, mistakes: RefCell::default() }
    }

    /// The outermost table. `None`, with mistakes, if the text is not TOML.
    pub(super) fn table(&self) -> Option<Table<'_>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.mistake(error.span().map_or(0, |span| span.start), error.message());
        }
        let members = table.into_inner();
        errors.is_empty().then_some(Table { file: self, at: 0, members })
    }

    /// Notes a mistake at byte `at`.
    pub(super) fn mistake(&self, at: usize, what: impl Into<String>) {
        self.mistakes.borrow_mut().push((at, what.into()));
    }

    /// Every mistake as a line `path:line: what to do`, in the order of the file.
    pub(super) fn finish(self) -> Vec<String> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        let line = |at: usize| self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let told = mistakes.iter().map(|(at, what)| format!("{}:{}: {what}", self.path, line(*at)));
        told.collect()
    }
}

/// A table that is being read. Members that remain at the end are unknown.
pub(super) struct Table<'a> {
    file: &'a File<'a>,
    /// Byte at which it begins.
    pub(super) at: usize,
    members: DeTable<'a>,
}

impl<'a> Table<'a> {
    /// Notes a mistake at byte `at` of the file.
    pub(super) fn mistake(&self, at: usize, what: impl Into<String>) {
        self.file.mistake(at, what);
    }

    fn pull(&mut self, name: &str) -> Option<Spanned<DeValue<'a>>> {
        self.members.remove(name)
    }

    /// Takes the member `name` and its place. `None` if it is absent, or, with a mistake that says what is
    /// `expected`, if it is of another type.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Option<(T, usize)> {
        let value = self.pull(name)?;
        let Range { start, .. } = value.span();
        let read = T::deserialize(ValueDeserializer::from(value));
        if read.is_err() {
            self.mistake(start, format!("{name} must be {expected}"));
        }
        Some((read.ok()?, start))
    }

    /// As [`take`](Self::take); an absent member is a mistake too.
    pub(super) fn must<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Option<(T, usize)> {
        if !self.members.contains_key(name) {
            self.mistake(self.at, format!("add {name}: {expected}"));
        }
        self.take(name, expected)
    }

    /// A member that is a table.
    pub(super) fn table(&mut self, name: &str) -> Option<Table<'a>> {
        let value = self.pull(name)?;
        self.inner(name, value)
    }

    /// A member that is a list of tables: `[[name]]`, or tables in brackets.
    pub(super) fn tables(&mut self, name: &str) -> Vec<Table<'a>> {
        let Some(value) = self.pull(name) else { return Vec::new() };
        let at = value.span().start;
        let DeValue::Array(elements) = value.into_inner() else {
            self.mistake(at, format!("{name} must be a list of tables"));
            return Vec::new();
        };
        elements.into_iter().filter_map(|element| self.inner(name, element)).collect()
    }

    /// Every member; each must be a table.
    pub(super) fn named_tables(mut self) -> Vec<(String, Table<'a>)> {
        let members = std::mem::take(&mut self.members);
        let named = members.into_iter().map(|(name, value)| {
            let name = name.into_inner().into_owned();
            let table = self.inner(&name, value);
            table.map(|table| (name, table))
        });
        named.flatten().collect()
    }

    fn inner(&self, name: &str, value: Spanned<DeValue<'a>>) -> Option<Table<'a>> {
        let at = value.span().start;
        if let DeValue::Table(members) = value.into_inner() {
            return Some(Table { file: self.file, at, members });
        }
        self.mistake(at, format!("{name} must be a table"));
        None
    }

    /// True if there is a member of this name that was not taken yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Reports members that were not taken: a misspelt name must not look like a rule that is in force.
    pub(super) fn finish(self, known: &str) {
        for name in self.members.keys() {
            let what = format!("{:?} is not known here; there is {known}", name.get_ref());
            self.mistake(name.span().start, what);
        }
    }
}

/// What a member of one text or several must be.
const TEXTS: &str = "a text or a list of texts";

/// One text or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

/// The texts of a member that is one text or several. Absent: none.
pub(super) fn texts(table: &mut Table<'_>, name: &str) -> Vec<String> {
    match table.take(name, TEXTS) {
        None => Vec::new(),
        Some((Texts::One(text), _)) => vec![text],
        Some((Texts::Many(texts), at)) => {
            if texts.is_empty() {
                // An empty list would mean "any", but its author probably meant "none".
                table.mistake(
                    at,
                    format!("{name} is empty: name some, or leave it out to match all"),
                );
            }
            texts
        }
    }
}
