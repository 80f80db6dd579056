//! Text for people: colours only on a terminal, foreign strings made harmless.

pub use ledger::foreign::{harmless, name};
use std::io::IsTerminal as _;

/// Whether standard output shows colours: a terminal, and `NO_COLOR` is not set.
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn painted(code: &str, text: &str) -> String {
    if colours() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Green.
pub fn good(text: &str) -> String {
    painted("32", text)
}

/// Red.
pub fn bad(text: &str) -> String {
    painted("31", text)
}

/// Dim.
pub fn dim(text: &str) -> String {
    painted("2", text)
}

/// Bold.
pub fn strong(text: &str) -> String {
    painted("1", text)
}

/// Writes a line to standard output; a closed pipe is no error.
pub fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes JSON on one line. What can't be seen in it is escaped as JSON does, so a terminal shows it and a program reads
/// the same.
#[cfg(feature = "server")]
pub fn say_json(value: &serde_json::Value) {
    use ledger::foreign::is_hidden;
    use std::fmt::Write as _;
    let mut line = String::new();
    for c in value.to_string().chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(c);
        }
    }
    say(&line);
}

/// Writes a line to standard error.
pub fn warn(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
