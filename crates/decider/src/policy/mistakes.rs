//! Mistakes in files: where, what, and what to write instead. All mistakes of all files are reported at once.

use std::{cell::RefCell, fmt};

/// A place in a file: line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file, as its source names it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.text)
    }
}

/// Most mistakes of one file that are reported.
const SHOWN_MAX: usize = 30;

/// Collects the mistakes of one file while it is read.
pub(super) struct Mistakes<'a> {
    file: &'a str,
    found: RefCell<Vec<Mistake>>,
}

impl<'a> Mistakes<'a> {
    pub(super) fn of(file: &'a str) -> Self {
        Self { file, found: RefCell::default() }
    }

    /// Notes a mistake.
    pub(super) fn note(&self, at: Place, text: impl Into<String>) {
        let Place { line, column } = at;
        let mistake = Mistake { file: self.file.to_owned(), line, column, text: text.into() };
        self.found.borrow_mut().push(mistake);
    }

    /// All mistakes, in the order of the file.
    pub(super) fn finish(self) -> Vec<Mistake> {
        let mut found = self.found.into_inner();
        found.sort();
        if let Some(first_left_out) = found.get(SHOWN_MAX).cloned() {
            let more = found.len() - SHOWN_MAX;
            found.truncate(SHOWN_MAX);
            let text =
                format!("{more} more mistakes follow in this file: mend the ones above first");
            found.push(Mistake { text, ..first_left_out });
        }
        found
    }
}
