//! Checks that every adapter makes before it writes anything.

use super::{Append, BATCH_MESSAGES_MAX, BODY_BYTES_MAX, Error};

/// Longest value of a header, in bytes. A signature takes 86.
pub(super) const HEADER_VALUE_BYTES_MAX: usize = 1024;

/// Checks the bodies and their number. An empty batch is allowed.
pub(super) fn check_limits(batch: &[Append]) -> Result<(), Error> {
    if batch.len() > BATCH_MESSAGES_MAX {
        return Err(Error::TooBig {
            what: "messages per batch",
            got: batch.len(),
            max: BATCH_MESSAGES_MAX,
        });
    }
    match batch.iter().map(|append| append.body.len()).find(|&bytes| bytes > BODY_BYTES_MAX) {
        Some(got) => Err(Error::TooBig { what: "bytes per message", got, max: BODY_BYTES_MAX }),
        None => Ok(()),
    }
}

/// Checks that a header value will arrive as it was sent: printable ASCII without spaces. Our own values are
/// base64url or a subject. Any other value is a fault of the caller, and a client library would panic on it.
pub(super) fn check_header<'a>(name: &str, value: &'a str) -> Result<&'a str, Error> {
    if value.len() > HEADER_VALUE_BYTES_MAX {
        let (got, max) = (value.len(), HEADER_VALUE_BYTES_MAX);
        return Err(Error::TooBig { what: "bytes per header value", got, max });
    }
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(value)
    } else {
        Err(Error::Halt(format!("{name} is not printable ASCII: a defect of Countersign")))
    }
}
