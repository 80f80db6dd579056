//! Events over several lines, one after the other, or in an array. All of them are read before any is sent.

use super::{EXIT_FAILED, Failed, REQUEST_BYTES, lines::Lines};
use ledger::journal::BODY_BYTES_MAX;
use serde_json::value::RawValue;

/// Most bytes of such an input.
const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// The text of every event, as written.
pub struct Events(Vec<Box<RawValue>>);

impl Events {
    /// The texts, in order.
    pub fn texts(&self) -> Vec<&str> {
        self.0.iter().map(|value| value.get()).collect()
    }
}

/// Reads the rest of the input, or refuses all of it.
pub fn read(lines: &mut Lines) -> Result<Events, Failed> {
    let text = lines.rest(WHOLE_BYTES_MAX)?;
    parse(&text).map(Events).map_err(|why| {
        let path = lines.path().display();
        Failed::new(EXIT_FAILED, format!("{path}: {why}; nothing was sent"))
    })
}

/// Reads JSON values one after the other. An array gives its elements.
fn parse(text: &[u8]) -> Result<Vec<Box<RawValue>>, String> {
    let mut events = Vec::new();
    for value in serde_json::Deserializer::from_slice(text).into_iter::<Box<RawValue>>() {
        let value = value.map_err(|e| format!("not JSON as a whole, nor one event a line: {e}"))?;
        if value.get().starts_with('[') {
            let elements: Vec<Box<RawValue>> =
                serde_json::from_str(value.get()).map_err(|e| e.to_string())?;
            events.extend(elements);
        } else {
            events.push(value);
        }
    }
    for (number, event) in (1..).zip(&events) {
        if !event.get().starts_with('{') {
            return Err(format!("event {number} is not a JSON object"));
        }
        if event.get().len() > BODY_BYTES_MAX {
            return Err(format!("event {number} is longer than an event may be (262144 bytes)"));
        }
    }
    Ok(events)
}

/// Splits events into parts that fit one request.
pub fn batches<'a, 'b>(events: &'a [&'b str], max: usize) -> Vec<&'a [&'b str]> {
    let mut batches = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(max).take_while(|event| {
            let before = bytes;
            bytes += event.len() + 1;
            before < REQUEST_BYTES
        });
        let (batch, after) = rest.split_at(fits.count());
        batches.push(batch);
        rest = after;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[&str]>) {
        let parsed = parse(text.as_bytes()).map(Events);
        assert_eq!(parsed.as_ref().ok().map(Events::texts).as_deref(), expected, "{text}");
    }

    #[test]
    fn events_are_found_as_written() {
        check("{\n \"a\": 1\n}\n", Some(&["{\n \"a\": 1\n}"]));
        check("{\"a\":1}\n{\n\"b\":2}{}", Some(&["{\"a\":1}", "{\n\"b\":2}", "{}"]));
        check(
            "[\n{\"a\":1.0},\n {\"a\":1,\"a\":2}\n]\n",
            Some(&["{\"a\":1.0}", "{\"a\":1,\"a\":2}"]),
        );
        check("[]", Some(&[]));
        check("[{}] [{},{}]", Some(&["{}"; 3]));
        check("{\n", None);
        check("[{},]", None);
        check("{}\n5", None);
        check("[[{}]]", None);
        check("{} x", None);
    }

    #[test]
    fn batches_hold_everything_once() {
        let events: Vec<String> = (0..7).map(|n| format!("{{\"n\":{n}}}")).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        for max in 1..9 {
            let parts = batches(&events, max);
            assert!(parts.iter().all(|part| (1..=max).contains(&part.len())));
            assert_eq!(parts.concat(), events);
        }
        let big = "x".repeat(BODY_BYTES_MAX);
        let many = vec![big.as_str(); 100];
        let parts = batches(&many, 1000);
        assert!(parts.len() > 1 && parts.concat().len() == 100);
        for part in parts {
            assert!(part.iter().map(|event| event.len() + 1).sum::<usize>() < 8 << 20);
        }
    }
}
