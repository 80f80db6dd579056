//! What retention let expire after the checkpoint, by the name of its receipt below `proof/expired/`.

use ledger::{
    entry::{Kind, View},
    system::retention::{Expire, RetentionBody},
};

/// Folder of the receipts.
pub const EXPIRED: &str = "expired/";

/// Which leaf indexes lost their payload, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Those of a step of retention.
    Step(u64, u64),
    /// All of them: the tenant was deleted.
    All,
}

impl Gone {
    /// What a retention entry lets expire.
    pub fn of(view: &View<'_>) -> Option<Self> {
        if view.kind != Kind::Retention {
            return None;
        }
        match view.event_as()? {
            RetentionBody::Expire(Expire { from, below, .. }) => Some(Self::Step(from, below)),
            RetentionBody::Delete(_) => Some(Self::All),
            _ => None,
        }
    }

    /// By the name of a file, without folder and ending.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "all" {
            return Some(Self::All);
        }
        let (from, below) = name.split_once('-')?;
        let gone = Self::Step(from.parse().ok()?, below.parse().ok()?);
        (gone.name() == name).then_some(gone)
    }

    /// The name of its files, without folder and ending.
    pub fn name(self) -> String {
        match self {
            Self::Step(from, below) => format!("{from}-{below}"),
            Self::All => "all".into(),
        }
    }

    /// Where its receipt lies, without ending.
    pub fn path(self) -> String {
        format!("{EXPIRED}{}", self.name())
    }

    /// What explains that the payload of an entry is gone: the step that it is in, or else the deletion.
    pub fn explains(all: impl IntoIterator<Item = Self>, index: u64) -> Option<Self> {
        let mut deleted = None;
        for gone in all {
            match gone {
                Self::Step(from, below) if (from..below).contains(&index) => return Some(gone),
                Self::All => deleted = Some(gone),
                Self::Step(..) => {}
            }
        }
        deleted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, gone: Option<Gone>) {
        assert_eq!(Gone::parse(name), gone, "{name}");
    }

    #[test]
    fn p20_a_name_says_what_is_gone() {
        check("0-12", Some(Gone::Step(0, 12)));
        check("all", Some(Gone::All));
        for wrong in ["", "12", "00-12", "+1-12", "1-12-13", "all-", "-1-2"] {
            check(wrong, None);
        }
    }

    #[test]
    fn p20_a_step_explains_before_a_deletion_does() {
        let all = [Gone::All, Gone::Step(5, 9), Gone::Step(9, 12)];
        let explains = |index| Gone::explains(all, index);
        assert_eq!([8, 9].map(explains), [all[1], all[2]].map(Some));
        assert_eq!([4, 12].map(explains), [Some(Gone::All); 2]);
        assert_eq!(Gone::explains([all[1]], 9), None);
    }
}
