//! Strict JSON: what may be hashed. RFC 8259 text, checked before anything else reads it.
//!
//! In scope: bytes to a [`Value`] whose objects are already in RFC 8785 order. Refused: duplicate member names at
//! any depth, invalid UTF-8, lone surrogates, more than [`DEPTH_MAX`] levels, and every number that RFC 8785 would
//! silently change (2^53+1, 0.1000000000000000055, 1e400). Out of scope: meaning (`event`), output (`canonical`).

mod number;

use std::{borrow::Cow, cmp::Ordering};

/// Deepest nesting of objects and arrays; the outermost container is level 1.
pub const DEPTH_MAX: usize = 32;
/// Largest integral number, 2^53 - 1: beyond it, RFC 8785 maps neighbours to one form.
pub const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// A JSON value. Objects are sorted by UTF-16 code units of their names (RFC 8785 §3.2.3) and hold no name twice.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Exactly the number that was written.
    Number(f64),
    /// Decoded text.
    String(Cow<'a, str>),
    /// Elements in order.
    Array(Vec<Value<'a>>),
    /// Members in RFC 8785 order.
    Object(Vec<Member<'a>>),
}

/// Name and value of one object member.
pub type Member<'a> = (Cow<'a, str>, Value<'a>);

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct Error {
    /// The fault.
    pub kind: ErrorKind,
    /// Byte at which reading stopped, from 0.
    pub offset: usize,
}

/// Faults that make a text not strict JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The text is not RFC 8259 JSON.
    #[error("not JSON")]
    Syntax,
    /// EF BB BF in front, as some editors write it; RFC 8259 §8.1 forbids it.
    #[error("a byte order mark (EF BB BF), which JSON must not have,")]
    ByteOrderMark,
    /// More text follows a whole value.
    #[error("something follows the JSON value, where only one may be,")]
    Trailing,
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// An object names a member twice.
    #[error("duplicate member name")]
    DuplicateKey,
    /// More than [`DEPTH_MAX`] levels.
    #[error("nested more than 32 levels")]
    Depth,
    /// RFC 8785 would change a number.
    #[error("number that RFC 8785 would change (not a double, or integral beyond 2^53-1)")]
    Number,
    /// `\ud800` without its other half.
    #[error("lone surrogate")]
    Surrogate,
}

/// Reads one JSON text; nothing but white space may follow it.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, Error> {
    parse_to(bytes, DEPTH_MAX)
}

/// Reads a message that contains entries ([`crate::gone`]), which allows four more levels around an entry.
pub fn parse_nested(bytes: &[u8]) -> Result<Value<'_>, Error> {
    parse_to(bytes, DEPTH_MAX + 6)
}

/// Reads what we wrote ourselves: an entry or a disclosure adds up to two levels to what was accepted.
pub fn parse_kept(bytes: &[u8]) -> Result<Value<'_>, Error> {
    parse_to(bytes, DEPTH_MAX + 2)
}

fn parse_to(bytes: &[u8], depth_max: usize) -> Result<Value<'_>, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error { kind: ErrorKind::Utf8, offset: e.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(Error { kind: ErrorKind::ByteOrderMark, offset: 0 });
    }
    let mut reader = Reader { text, at: 0, depth_max };
    let value = reader.value(0)?;
    let end = reader.at;
    reader.space();
    // `01` is one malformed number, not two numbers.
    let broken = end == reader.at
        && matches!(value, Value::Number(_))
        && bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
    if reader.at == bytes.len() {
        return Ok(value);
    }
    Err(reader.error(if broken { ErrorKind::Syntax } else { ErrorKind::Trailing }))
}

/// RFC 8785 order of member names: by UTF-16 code units.
pub fn name_order(a: &str, b: &str) -> Ordering {
    match a.bytes().zip(b.bytes()).find(|(a, b)| a != b) {
        None => a.len().cmp(&b.len()),
        // UTF-8 orders code points, and so does UTF-16 below U+E000, whose first byte is EE.
        Some((a, b)) if a < 0xEE && b < 0xEE => a.cmp(&b),
        Some(_) => a.encode_utf16().cmp(b.encode_utf16()),
    }
}

impl<'a> Value<'a> {
    /// An object of members in any order, each name once.
    pub fn object(mut members: Vec<Member<'a>>) -> Self {
        members.sort_by(|(a, _), (b, _)| name_order(a, b));
        Value::Object(members)
    }

    /// The member `name` of an object.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        let Value::Object(members) = self else { return None };
        let at = members.binary_search_by(|(n, _)| name_order(n, name)).ok()?;
        Some(&members[at].1)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = self { Some(text) } else { None }
    }

    /// A number that is integral and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Number(n) if n.fract() == 0.0 && (0.0..=INTEGER_MAX).contains(n) =>
            {
                #[expect(clippy::cast_sign_loss, reason = "the range begins at 0")]
                Some(*n as u64)
            }
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        if let Value::Array(elements) = self { Some(elements) } else { None }
    }

    /// True if any string or name in it has a control character (C0, DEL, C1).
    pub fn has_control(&self) -> bool {
        match self {
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
            Value::String(text) => text_has_control(text),
            Value::Array(elements) => elements.iter().any(Value::has_control),
            Value::Object(members) => {
                members.iter().any(|(name, value)| text_has_control(name) || value.has_control())
            }
        }
    }
}

/// True if `text` has a control character (C0, DEL, C1).
pub fn text_has_control(text: &str) -> bool {
    // C1 is not ASCII. Most texts are ASCII without control characters; the compiler checks 16 bytes of them at a time.
    let suspect = |byte: u8| !(0x20..0x7f).contains(&byte);
    text.bytes().fold(false, |found, byte| found | suspect(byte))
        && text.chars().any(char::is_control)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth_max: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, kind: ErrorKind) -> Error {
        Error { kind, offset: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), Error> {
        if self.text.as_bytes()[self.at..].starts_with(token.as_bytes()) {
            self.at += token.len();
            Ok(())
        } else {
            Err(self.error(ErrorKind::Syntax))
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(Value::String),
            Some(b't') => self.expect("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.expect("false").map(|()| Value::Bool(false)),
            Some(b'n') => self.expect("null").map(|()| Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            _ => Err(self.error(ErrorKind::Syntax)),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        if depth > self.depth_max {
            return Err(self.error(ErrorKind::Depth));
        }
        let begin = self.at;
        self.at += 1;
        let mut members: Vec<Member<'a>> = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.error(ErrorKind::Syntax));
            }
            let name = self.string()?;
            self.space();
            self.expect(":")?;
            members.push((name, self.value(depth)?));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break self.at += 1,
                _ => return Err(self.error(ErrorKind::Syntax)),
            }
        }
        members.sort_by(|(a, _), (b, _)| name_order(a, b));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Error { kind: ErrorKind::DuplicateKey, offset: begin });
        }
        Ok(Value::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        if depth > self.depth_max {
            return Err(self.error(ErrorKind::Depth));
        }
        self.at += 1;
        let mut elements = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break self.at += 1,
                _ => return Err(self.error(ErrorKind::Syntax)),
            }
        }
        Ok(Value::Array(elements))
    }

    /// Reads a string; text without escapes is borrowed.
    fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        self.at += 1;
        let mut begin = self.at;
        let mut decoded: Option<String> = None;
        loop {
            let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
            self.at +=
                self.text.as_bytes()[self.at..].iter().take_while(|byte| plain(byte)).count();
            match self.peek() {
                Some(b'"') => {
                    let tail = &self.text[begin..self.at];
                    self.at += 1;
                    return Ok(match decoded {
                        None => Cow::Borrowed(tail),
                        Some(text) => Cow::Owned(text + tail),
                    });
                }
                Some(b'\\') => {
                    let text = decoded.get_or_insert_default();
                    text.push_str(&self.text[begin..self.at]);
                    self.at += 1;
                    let c = self.escape()?;
                    text.push(c);
                    begin = self.at;
                }
                // The end, or a control character.
                _ => return Err(self.error(ErrorKind::Syntax)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.error(ErrorKind::Syntax)),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char, Error> {
        let unit = self.hex4()?;
        if (0xd800..0xdc00).contains(&unit) {
            self.expect("\\u").map_err(|e| Error { kind: ErrorKind::Surrogate, ..e })?;
            let low = self.hex4()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.error(ErrorKind::Surrogate));
            }
            let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return char::from_u32(code).ok_or_else(|| self.error(ErrorKind::Surrogate));
        }
        char::from_u32(unit).ok_or_else(|| self.error(ErrorKind::Surrogate))
    }

    fn hex4(&mut self) -> Result<u32, Error> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| self.error(ErrorKind::Syntax))?;
        let unit = digits.iter().fold(0, |n, d| n * 16 + char::from(*d).to_digit(16).unwrap_or(0));
        self.at += 4;
        Ok(unit)
    }

    fn digits(&mut self) -> Result<(), Error> {
        let begin = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > begin { Ok(()) } else { Err(self.error(ErrorKind::Syntax)) }
    }

    fn number(&mut self) -> Result<f64, Error> {
        let begin = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        number::exact(&self.text[begin..self.at])
            .ok_or(Error { kind: ErrorKind::Number, offset: begin })
    }
}

#[cfg(test)]
mod tests;
