//! Posts evidence: words and raw clicks, of which every member is payload, and that an approval was shown to somebody,
//! which is plain.

use super::{EVIDENCE, Log, SYSTEM};
use crate::{
    entry::{Draft, Origin},
    ident::Ident,
    store::Changes,
};

impl Log {
    /// Posts the words of an administrative act, or evidence about the approval of that name.
    pub(super) fn post_evidence(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        (draft, name): (Draft, &Ident),
    ) -> u64 {
        if name.as_str() == SYSTEM {
            return self.append(changes, draft, origin, None);
        }
        self.append_to_approval(changes, draft, origin, (name, EVIDENCE))
    }
}
