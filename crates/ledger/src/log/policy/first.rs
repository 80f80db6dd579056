//! The first policy of a log: what its operator proposes to those who verify.

use super::{Anchor, Log};
use crate::log::{
    cosignature::Cosigner,
    members::{Member, MemberSet},
};

/// The first policy: the log's key, its own replicas and the witnesses that its server asks. A majority of the replicas and
/// most of the witnesses must cosign. Replicas are a group of their own, whose name says which set they are.
pub fn first(
    logs: &[Log],
    replicas: Option<&MemberSet>,
    witnesses: &[(String, Cosigner, String)],
) -> String {
    let mut lines = vec![
        "# Which checkpoints count (C2SP tlog-policy). Keep this file where the log's operator can't change it."
            .to_owned(),
    ];
    lines.extend(logs.iter().map(|Log { vkey, url }| {
        let url = url.as_ref().map_or_else(String::new, |url| format!(" {url}"));
        format!("log {vkey}{url}")
    }));
    let mut needed = Vec::new();
    let group = replicas.map(|set| Anchor::of(set).to_string());
    if let (Some(set), Some(group)) = (replicas, &group) {
        lines.push(
            "# The log's own replicas: one operator's quorum, not independent witnesses. `countersign verify` follows their changes from \
             the set that the group's name says: leave it as it is."
                .into(),
        );
        let by_name = |member: &Member| format!("replica-{}", member.name);
        lines.extend(set.members.iter().map(|one| format!("witness {} {}", by_name(one), one.key)));
        let names: Vec<String> = set.members.iter().map(by_name).collect();
        lines.push(format!("group {group} {} {}", set.majority(), names.join(" ")));
        needed.push(group.as_str());
    }
    lines.extend(witnesses.iter().map(|(name, key, url)| format!("witness {name} {key} {url}")));
    match witnesses {
        [] if replicas.is_none() => {
            lines.push("# Nobody else cosigns: add witnesses, and name them here.".to_owned());
        }
        [] => {}
        [(only, ..)] => needed.push(only),
        many => {
            let names: Vec<&str> = many.iter().map(|(name, ..)| name.as_str()).collect();
            // One of them may be away.
            lines.push(format!("group witnesses {} {}", majority(many.len()), names.join(" ")));
            needed.push("witnesses");
        }
    }
    match needed[..] {
        [] => lines.push("quorum none".into()),
        [only] => lines.push(format!("quorum {only}")),
        _ => {
            lines.push(format!("group all-of-them all {}", needed.join(" ")));
            lines.push("quorum all-of-them".into());
        }
    }
    lines.join("\n") + "\n"
}

fn majority(count: usize) -> usize {
    count / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ident::Ident,
        log::{cosignature::CosignerKey, note::Signer, policy::Policy},
    };

    const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";

    #[test]
    fn p21_the_first_policy_is_read_again() {
        let log = Log { vkey: Signer::new("log.example/l", &[1; 32]).vkey().clone(), url: None };
        let key = |seed: u8| {
            CosignerKey::new(&format!("log.example/replicas/{seed}"), &[seed; 32]).public().clone()
        };
        let replicas: Vec<Member> = [("a", 2), ("b", 3), ("c", 4)]
            .map(|(name, seed)| Member { name: Ident::new(name).unwrap(), key: key(seed) })
            .into();
        let witness =
            |name: &str, seed| (name.to_owned(), key(seed), "https://w.example".to_owned());
        let two = [witness("a", 5), witness("w", 6)];
        let check = |replicas: Option<&MemberSet>, witnesses: &[_], quorum: &str| {
            let text = first(std::slice::from_ref(&log), replicas, witnesses);
            let policy = Policy::parse(text.as_bytes()).expect(&text);
            assert_eq!(policy.quorum(), quorum, "{text}");
            let own = replicas.map_or(0, |set| set.members.len());
            assert_eq!(policy.witnesses().count(), own + witnesses.len());
            // The replicas are a group of their own, which says which set it is.
            let known = replicas.is_none_or(|set| policy.knows(&set.members, ORIGIN));
            let anchor = policy.anchor(ORIGIN).map(|(anchor, _)| anchor);
            assert!(known && anchor == replicas.map(Anchor::of), "{text}");
        };
        let set = MemberSet::first(replicas.clone());
        let later = MemberSet { version: 2, index: 1234, members: replicas };
        check(None, &[], "none");
        check(None, &two[..1], "a");
        check(None, &two, "witnesses");
        check(Some(&set), &[], "replicas-version-0");
        check(Some(&set), &two[..1], "all-of-them");
        check(Some(&set), &two, "all-of-them");
        check(Some(&later), &[], "replicas-version-2-entry-1234");
    }
}
