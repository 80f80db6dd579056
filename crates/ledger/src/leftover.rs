//! Names of files that were being written when a crash came. Writers of whole files make them, and readers
//! skip them.

use data_encoding::HEXLOWER;

const BEGIN: &str = ".countersign-";
const END: &str = ".new";

/// Number of random bytes in such a name, so that it is unique.
pub const RANDOM_BYTES: usize = 16;

/// The name of a file that is being written: `.countersign-<32 hex digits>.new`.
pub fn name(random: [u8; RANDOM_BYTES]) -> String {
    format!("{BEGIN}{}{END}", HEXLOWER.encode(&random))
}

/// True if this is the name of a file that was being written.
pub fn is_leftover(name: &str) -> bool {
    let random = name.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    random.is_some_and(|hex| {
        HEXLOWER.decode(hex.as_bytes()).is_ok_and(|bytes| bytes.len() == RANDOM_BYTES)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_known_by_their_names() {
        let check = |name: &str, is: bool| assert_eq!(is_leftover(name), is, "{name}");
        check(&name([7; RANDOM_BYTES]), true);
        check(".countersign-000102030405060708090a0b0c0d0e0f.new", true);
        check(".countersign-000102030405060708090a0b0c0d0e0F.new", false);
        check(".countersign-00.new", false);
        check("f.new", false);
        check(".countersign-.new", false);
    }
}
