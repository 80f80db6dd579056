//! Reads the text of a policy, line by line.

use super::{Anchor, EACH_MAX, Error, Log, Named, POLICY_BYTES_MAX, Policy, What, shown};
use crate::log::{cosignature::Cosigner, note::Vkey};

/// Longest name that is read, in octets.
const NAME_BYTES_MAX: usize = 255;

/// What was read so far.
#[derive(Default)]
struct Reading {
    logs: Vec<Log>,
    named: Vec<Named>,
    /// Whether each name is already a member of a group.
    taken: Vec<bool>,
    /// The quorum that its line names. `None` is `none`.
    quorum: Option<usize>,
    /// True once that line was read.
    has_quorum: bool,
}

pub(super) fn policy(bytes: &[u8]) -> Result<Policy, Error> {
    let wrong = |line, what: &str| Error { line, what: what.into() };
    if bytes.len() > POLICY_BYTES_MAX {
        return Err(wrong(1, "the file is larger than 64 KiB"));
    }
    let mut reading = Reading::default();
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let last = lines.len();
    if lines.pop().is_some_and(|rest| !rest.is_empty()) {
        return Err(wrong(last, "the last line does not end with a newline: the file was cut off"));
    }
    for (at, line) in lines.iter().enumerate() {
        reading.line(line).map_err(|what| Error { line: at + 1, what })?;
    }
    if !reading.has_quorum {
        let what = "the file ends without a `quorum` line; `quorum none` asks for no cosignature";
        return Err(wrong(lines.len().max(1), what));
    }
    let Reading { logs, named, quorum, .. } = reading;
    Ok(Policy { logs, named, quorum })
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let allowed = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
        if let Some(byte) = line.iter().find(|byte| !allowed(byte)) {
            let hint = if *byte == b'\r' { " (a Windows line end)" } else { "" };
            return Err(format!("the octet 0x{byte:02x}{hint} may not be in a policy"));
        }
        let mut items = line.split(|b| matches!(b, b' ' | b'\t')).filter(|item| !item.is_empty());
        let Some(word) = items.next().filter(|word| word[0] != b'#') else { return Ok(()) };
        let items: Vec<&[u8]> = items.collect();
        match (word, &items[..]) {
            (b"log", [key]) => self.log(key, None),
            (b"log", [key, url]) => self.log(key, Some(*url)),
            (b"witness", [name, key] | [name, key, _]) => self.witness(name, key),
            (b"group", [name, least, members @ ..]) => self.group(name, least, members),
            (b"quorum", [name]) => self.quorum(name),
            (b"log", _) => Err("expected `log <vkey> [<url>]`".into()),
            (b"witness", _) => Err("expected `witness <name> <vkey> [<url>]`".into()),
            (b"group", _) => Err("expected `group <name> all|any|<k> <name>...`".into()),
            (b"quorum", _) => Err("expected `quorum <name>`, or `quorum none`".into()),
            (word, _) => Err(format!(
                "{:?} begins no line of a policy: log, witness, group or quorum does",
                shown(word)
            )),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&[u8]>) -> Result<(), String> {
        let vkey = Vkey::parse(&text(key)?).map_err(|error| error.to_string())?;
        room(self.logs.len(), "logs")?;
        if self.logs.iter().any(|log| log.vkey.public_bytes() == vkey.public_bytes()) {
            return Err("an earlier line has this log's public key".into());
        }
        self.logs.push(Log { vkey, url: url.map(shown) });
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8]) -> Result<(), String> {
        let key = Cosigner::parse(&text(key)?).map_err(|error| error.to_string())?;
        let is_other = |named: &&Named| matches!(named.what, What::Witness(_));
        room(self.named.iter().filter(is_other).count(), "witnesses")?;
        for named in &self.named {
            if let What::Witness(other) = &named.what
                && other.public_bytes() == key.public_bytes()
            {
                return Err(format!("witness {:?} has this public key", shown(&named.name)));
            }
        }
        self.name(name, What::Witness(Box::new(key)))
    }

    fn group(&mut self, name: &[u8], least: &[u8], members: &[&[u8]]) -> Result<(), String> {
        let is_other = |named: &&Named| matches!(named.what, What::Group { .. });
        room(self.named.iter().filter(is_other).count(), "groups")?;
        let count = members.len();
        let least = match least {
            b"all" => count,
            b"any" => 1,
            digits => number(digits)
                .ok_or("after a group's name comes `all`, `any` or a decimal number")?,
        };
        if Anchor::read(name)?.is_some() {
            let is_other = |named: &Named| matches!(Anchor::read(&named.name), Ok(Some(_)));
            if self.named.iter().any(is_other) {
                return Err("an earlier group has the name of a set of replicas".into());
            }
        }
        if count == 0 {
            return Err("a group has at least one member".into());
        }
        if !(1..=count).contains(&least) {
            return Err(format!("the group has {count} members: its number is 1 to {count}"));
        }
        let mut places: Vec<usize> = Vec::with_capacity(count);
        for member in members {
            let at = self.find(member)?;
            if self.taken[at] || places.contains(&at) {
                let member = shown(member);
                return Err(format!("{member:?} is already a member of a group: it counts once"));
            }
            places.push(at);
        }
        for at in &places {
            self.taken[*at] = true;
        }
        self.name(name, What::Group { least, members: places })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), String> {
        if self.has_quorum {
            return Err("an earlier line has the quorum".into());
        }
        self.quorum = if name == b"none" { None } else { Some(self.find(name)?) };
        self.has_quorum = true;
        Ok(())
    }

    /// The place of a name that an earlier line defines.
    fn find(&self, name: &[u8]) -> Result<usize, String> {
        let at = self.named.iter().position(|named| named.name == name);
        at.ok_or_else(|| format!("{:?} is defined on no line before this one", shown(name)))
    }

    fn name(&mut self, name: &[u8], what: What) -> Result<(), String> {
        if name == b"none" {
            return Err("the name `none` means no quorum; take another one".into());
        }
        if name.len() > NAME_BYTES_MAX {
            return Err("a name has at most 255 octets".into());
        }
        if self.named.iter().any(|named| named.name == name) {
            return Err(format!("{:?} is defined on an earlier line", shown(name)));
        }
        self.named.push(Named { name: name.to_vec(), what });
        self.taken.push(false);
        Ok(())
    }
}

fn room(count: usize, what: &str) -> Result<(), String> {
    if count < EACH_MAX { Ok(()) } else { Err(format!("more than {EACH_MAX} {what}")) }
}

/// A decimal number as it is written: without sign and leading zeros.
fn number(digits: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|n: &usize| n.to_string() == text)
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a key is UTF-8 text".into())
}
