//! Tables as CSV (RFC 4180) that opens right in a spreadsheet: UTF-8 with its mark, no cell that a spreadsheet would
//! compute, and no hidden character.

use super::{Error, Out};
use ledger::foreign::harmless;
use std::borrow::Cow;

/// Most rows of one file. A longer table goes on in `<name>-2.csv`. Bounds the memory of a table, and spreadsheets read
/// no more than 1,048,576 rows.
const ROWS_MAX: usize = 50_000;
/// A file is ended once it has this many bytes.
const BYTES_MAX: usize = 8 << 20;
/// UTF-8's byte order mark: without it a spreadsheet takes the text for its own code page.
const MARK: &[u8] = "\u{feff}".as_bytes();
/// A spreadsheet takes a cell that begins with one of these for a formula (OWASP, CSV injection). Tabs and carriage
/// returns are not among them, because they are shown by number.
const FORMULA: [char; 9] = ['=', '+', '-', '@', '\n', '＝', '＋', '－', '＠'];

/// A table that is being written, row by row.
pub struct Table {
    path: &'static str,
    columns: &'static [&'static str],
    writer: csv::Writer<Vec<u8>>,
    rows: usize,
    bytes: usize,
    files: usize,
}

impl Table {
    /// Begins a table at a path that ends with `.csv`.
    pub fn new(path: &'static str, columns: &'static [&'static str]) -> Self {
        Self { path, columns, writer: begin(columns), rows: 0, bytes: 0, files: 0 }
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, out: &mut dyn Out, cells: &[&str]) -> Result<(), Error> {
        debug_assert_eq!(cells.len(), self.columns.len(), "{}", self.path);
        if self.rows == ROWS_MAX || self.bytes > BYTES_MAX {
            self.put(out)?;
        }
        self.rows += 1;
        self.bytes += cells.iter().map(|cell| cell.len() + 1).sum::<usize>();
        write(&mut self.writer, cells);
        Ok(())
    }

    /// Writes what was added. A table without rows has its head.
    pub fn finish(mut self, out: &mut dyn Out) -> Result<(), Error> {
        self.put(out)
    }

    fn put(&mut self, out: &mut dyn Out) -> Result<(), Error> {
        self.files += 1;
        let path = match self.files {
            1 => self.path.to_owned(),
            n => format!("{}-{n}.csv", self.path.trim_end_matches(".csv")),
        };
        let full = std::mem::replace(&mut self.writer, begin(self.columns));
        (self.rows, self.bytes) = (0, 0);
        let bytes = full.into_inner().map_err(|error| Error::file(&path, error.to_string()))?;
        out.put(&path, &bytes)
    }
}

fn begin(columns: &[&str]) -> csv::Writer<Vec<u8>> {
    let terminator = csv::Terminator::CRLF;
    let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(MARK.to_vec());
    write(&mut writer, columns);
    writer
}

fn write(writer: &mut csv::Writer<Vec<u8>>, cells: &[&str]) {
    let row = cells.iter().map(|cell| safe(cell));
    writer.write_record(row.map(Bytes)).expect("memory takes every row of one length");
}

/// A cell as the writer of CSV takes it.
struct Bytes<'c>(Cow<'c, str>);

impl AsRef<[u8]> for Bytes<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A cell that no spreadsheet computes. Hidden characters are shown by number: one that turns the text around makes a
/// cell lie, and Gnumeric refuses to open a file that has one. Line feeds stay.
fn safe(cell: &str) -> Cow<'_, str> {
    let is_plain = cell.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let shown = if is_plain {
        Cow::Borrowed(cell)
    } else {
        Cow::Owned(cell.split('\n').map(harmless).collect::<Vec<_>>().join("\n"))
    };
    if shown.starts_with(FORMULA) { Cow::Owned(format!("'{shown}")) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Vec<(String, String)>);

    impl Out for Kept {
        fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
            self.0.push((path.to_owned(), String::from_utf8(bytes.to_vec()).unwrap()));
            Ok(())
        }
    }

    fn check(cell: &str, written: &str) {
        let mut kept = Kept::default();
        let mut table = Table::new("t.csv", &["a", "b"]);
        table.row(&mut kept, &[cell, "x"]).unwrap();
        table.finish(&mut kept).unwrap();
        assert_eq!(kept.0[0].1, format!("\u{feff}a,b\r\n{written},x\r\n"), "{cell:?}");
    }

    #[test]
    fn cells_are_text() {
        check("plain", "plain");
        check("a,b", "\"a,b\"");
        check("say \"yes\"", "\"say \"\"yes\"\"\"");
        check("two\nlines", "\"two\nlines\"");
        check("=1+1", "'=1+1");
        check("+49", "'+49");
        check("-2", "'-2");
        check("@SUM(A1)", "'@SUM(A1)");
        check("\t=1", "\\u{9}=1");
        check("＝1+1", "'＝1+1");
        check("\n=1", "\"'\n=1\"");
        check("abc\u{202e}def", "abc\\u{202e}def");
        check("", "");
        check("größer", "größer");
    }

    #[test]
    fn a_long_table_goes_on_in_another_file() {
        let mut kept = Kept::default();
        let mut table = Table::new("t.csv", &["n"]);
        for n in 0..=ROWS_MAX {
            table.row(&mut kept, &[&n.to_string()]).unwrap();
        }
        table.finish(&mut kept).unwrap();
        let names: Vec<_> = kept.0.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["t.csv", "t-2.csv"]);
        assert_eq!(kept.0[1].1, "\u{feff}n\r\n50000\r\n");
    }
}
