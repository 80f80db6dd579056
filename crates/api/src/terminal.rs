//! Text for people on a terminal: colours where they are supported, foreign strings made safe.

pub use ledger::foreign::{harmless, name};
use std::io::IsTerminal as _;

/// True if standard output shows colours: it is a terminal, and `NO_COLOR` is not set.
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

/// Writes a line to standard output. A closed pipe is not an error.
pub fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes JSON on one line. Invisible characters are escaped as JSON allows, so a terminal shows them and a
/// program reads the same value.
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
