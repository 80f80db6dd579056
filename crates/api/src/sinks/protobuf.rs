//! Protocol Buffers on the wire: what we write of OTLP, and what we read of it and of gRPC's statuses.
//!
//! Written by hand: a dozen messages of one protocol do not pay for a code generator and its tree. The other side's own classes
//! and a real collector judge what is written (`tests/test_sinks_cloud.py`). Field numbers: `opentelemetry/proto/{logs,trace}/v1` and
//! `collector/{logs,trace}/v1` of OTLP 1.x, which never change.

/// A message while it is written.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

/// How a field is written.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn key(&mut self, field: u64, sort: u64) {
        self.varint(field << 3 | sort);
    }

    /// A number of variable length. Zero is what is not there.
    pub fn number(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.key(field, VARINT);
            self.varint(number);
        }
    }

    /// A number of eight bytes.
    pub fn fixed64(&mut self, field: u64, number: u64) {
        self.key(field, FIXED64);
        self.0.extend(number.to_le_bytes());
    }

    /// A number of four bytes.
    pub fn fixed32(&mut self, field: u64, number: u32) {
        self.key(field, FIXED32);
        self.0.extend(number.to_le_bytes());
    }

    /// Bytes or a text. Nothing is written for none.
    pub fn bytes(&mut self, field: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.key(field, BYTES);
            self.varint(bytes.len() as u64);
            self.0.extend(bytes);
        }
    }

    /// A message within this one, also an empty one.
    pub fn message(&mut self, field: u64, message: &Self) {
        self.key(field, BYTES);
        self.varint(message.0.len() as u64);
        self.0.extend(&message.0);
    }

    /// An attribute (`KeyValue`) with a text.
    pub fn pair(&mut self, field: u64, key: &str, text: &str) {
        self.attribute(field, key, |value| {
            // A text is there also when it is empty: a value of no sort would be none.
            value.key(1, BYTES);
            value.varint(text.len() as u64);
            value.0.extend(text.as_bytes());
        });
    }

    /// An attribute (`KeyValue`) with a number.
    pub fn counted(&mut self, field: u64, key: &str, number: u64) {
        self.attribute(field, key, |value| {
            value.key(3, VARINT);
            value.varint(number);
        });
    }

    /// An attribute (`KeyValue`) with texts in order.
    pub fn listed(&mut self, field: u64, key: &str, texts: &[String]) {
        let mut values = Self::default();
        for text in texts {
            let mut value = Self::default();
            value.bytes(1, text.as_bytes());
            values.message(1, &value);
        }
        self.attribute(field, key, |value| value.message(5, &values));
    }

    fn attribute(&mut self, field: u64, key: &str, write: impl FnOnce(&mut Self)) {
        let (mut pair, mut value) = (Self::default(), Self::default());
        write(&mut value);
        pair.bytes(1, key.as_bytes());
        pair.message(2, &value);
        self.message(field, &pair);
    }
}

/// What `ExportLogsServiceResponse` and `ExportTraceServiceResponse` say: how many records were refused, and why. `None`: it is no such message.
pub fn refused(bytes: &[u8]) -> Option<(u64, String)> {
    let mut found = (0, String::new());
    fields(bytes, |field, value| {
        // `partial_success`
        if let (1, Value::Bytes(partial)) = (field, value) {
            fields(partial, |field, value| {
                match (field, value) {
                    (1, Value::Number(number)) => found.0 = number,
                    (2, Value::Bytes(text)) => found.1 = String::from_utf8_lossy(text).into_owned(),
                    _ => {}
                }
                Some(())
            })?;
        }
        Some(())
    })?;
    Some(found)
}

/// A field that was read.
pub enum Value<'a> {
    /// Of variable length.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
    /// Another one: nothing that we read.
    Other,
}

/// Gives each field of a message to `each`.
pub fn fields<'a>(
    mut bytes: &'a [u8],
    mut each: impl FnMut(u64, Value<'a>) -> Option<()>,
) -> Option<()> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            VARINT => Value::Number(varint(&mut bytes)?),
            FIXED64 => take(&mut bytes, 8).map(|_| Value::Other)?,
            FIXED32 => take(&mut bytes, 4).map(|_| Value::Other)?,
            BYTES => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Value::Bytes(take(&mut bytes, length)?)
            }
            _ => return None,
        };
        each(key >> 3, value)?;
    }
    Some(())
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for at in 0..10 {
        let byte = take(bytes, 1)?[0];
        number |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut partial = Message::default();
        partial.number(1, 300);
        partial.bytes(2, "why".as_bytes());
        partial.fixed64(9, 7);
        partial.fixed32(10, 7);
        let mut answer = Message::default();
        answer.message(1, &partial);
        let bytes = answer.into_bytes();
        assert_eq!(refused(&bytes), Some((300, "why".to_owned())));
        assert_eq!(refused(&[]), Some((0, String::new())));
        for end in 1..bytes.len() {
            assert_eq!(refused(&bytes[..end]), None, "cut at {end}");
        }
        assert_eq!(refused(b"<html>no</html>"), None);
        assert_eq!(refused(&[0xff; 20]), None);
    }

    #[test]
    fn as_the_guide_of_protocol_buffers_has_it() {
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"testing");
        message.number(3, 0);
        assert_eq!(message.into_bytes(), b"\x08\x96\x01\x12\x07testing");
    }
}
