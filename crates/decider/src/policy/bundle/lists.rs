//! The lists of a bundle: who names them, and the versions that count in place of the bundle's own files.

use super::Bundle;
use crate::policy::{
    clause::Then,
    condition::Condition,
    form::{is_date, is_host_pattern},
    list::{OwnLists, items_of},
    mistakes::Mistake,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

impl Bundle {
    /// The same bundle with the versions of those lists that have entries of their own. A list that it does not name
    /// changes nothing.
    ///
    /// Errors: the first mistake in the file of such a version.
    pub fn with_lists(mut self, own: &OwnLists) -> Result<Self, Mistake> {
        for (name, list) in own {
            if self.lists.knows(name) {
                self.lists.put(name, items_of(name, &list.content)?);
                self.versions.insert(name.clone(), list.version);
            }
        }
        Ok(self)
    }

    /// Names of its lists, in order.
    pub fn lists(&self) -> impl Iterator<Item = &str> {
        self.lists.names()
    }

    /// The items of a list. `None` if it names no such list.
    pub fn items(&self, list: &str) -> Option<&HashSet<String>> {
        self.lists.items(list)
    }

    /// Items of all lists.
    pub fn items_of_all(&self) -> usize {
        self.lists.count()
    }

    /// The version of a list. 0: its items are those of the bundle.
    pub fn list_version(&self, list: &str) -> u64 {
        self.versions.get(list).copied().unwrap_or(0)
    }

    /// The lists on which a verdict about this tool and action rests, with their versions: those that its clauses name.
    pub fn rests_on(&self, tool: &str, action: &str) -> BTreeMap<String, u64> {
        let clauses = self.candidates(tool, action).iter();
        let named = clauses.flat_map(|at| self.named.get(*at).into_iter().flatten());
        named.map(|list| (list.clone(), self.list_version(list))).collect()
    }

    /// The clauses that name a list, each with what it says: `web/known-hosts (allow)`.
    pub fn naming(&self, list: &str) -> Vec<String> {
        let clauses = self.clauses.iter().zip(&self.named);
        let naming = clauses.filter(|(_, named)| named.contains(list));
        naming.map(|(clause, _)| format!("{} ({})", clause.name, says(clause.then))).collect()
    }

    /// Why a text can't be an item of this list, by the form that its file names and by the clauses that name it.
    pub fn unfit(&self, list: &str, item: &str) -> Option<&'static str> {
        let mut fault = self.lists.unfit(list, item);
        for when in self.clauses.iter().filter_map(|clause| clause.when.as_ref()) {
            when.walk(&mut |part| match part {
                Condition::Egress(egress)
                    if egress.list() == Some(list) && !is_host_pattern(item) =>
                {
                    fault = Some("the list names hosts: write api.example.eu or *.bank.example");
                }
                Condition::Hours(hours)
                    if hours.holidays.as_deref() == Some(list) && !is_date(item) =>
                {
                    fault = Some("the list names dates: write 2026-12-25");
                }
                _ => {}
            });
        }
        fault
    }

    /// The lists that each clause names.
    pub(super) fn named_lists(&self) -> Vec<BTreeSet<String>> {
        let of = |when: &Condition| {
            let mut named = BTreeSet::new();
            when.walk(&mut |part| named.extend(part.lists().into_iter().map(str::to_owned)));
            named
        };
        let clauses = self.clauses.iter();
        clauses.map(|clause| clause.when.as_ref().map(of).unwrap_or_default()).collect()
    }
}

fn says(then: Then) -> &'static str {
    match then {
        Then::Allow => "allow",
        Then::ApprovalNeeded => "approval_needed",
        Then::Deny => "deny",
        Then::Sanitize => "sanitize",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{OwnList, Source, file_of};

    const POLICY: &str = r#"
language: 1
policy: p
clauses:
  - {id: web, agents: [bot], tool: web, actions: [get], when: {egress: {at: [/u], hosts: {in_list: hosts}}}, then: allow}
  - {id: nested, agents: [bot], tool: web, actions: [put], when: {any: [{not: {params: {/v: {in_list: payees}}}}, {purpose: {in_list: aims}}]}, then: approval_needed}
  - {id: days, tool: "*", when: {hours: {days: [mon], from: "08:00", to: "18:00", zone: UTC, holidays: days}}, then: deny}
"#;

    fn bundle() -> Bundle {
        with_payees("language: 1\nitems: [x, w]\n").unwrap()
    }

    fn with_payees(file: &str) -> Result<Bundle, Vec<Mistake>> {
        let agents = "language: 1\nagents: [{id: bot, owners: [p-a]}]\n";
        let tools = "language: 1\ntools: [{name: web, actions: [{name: get, effect: read}, {name: put, effect: write}]}]\n";
        let list = |items: &str| format!("language: 1\nitems: [{items}]\n");
        let lists = [("aims", "a"), ("days", "\"2026-12-25\""), ("hosts", "api.example")]
            .map(|(name, items)| (format!("lists/{name}.yaml"), list(items)));
        let mut sources = vec![
            Source { path: "agents.yaml", bytes: agents.as_bytes() },
            Source { path: "policies/p.yaml", bytes: POLICY.as_bytes() },
            Source { path: "tools.yaml", bytes: tools.as_bytes() },
        ];
        sources.extend(lists.iter().map(|(path, text)| Source { path, bytes: text.as_bytes() }));
        sources.push(Source { path: "lists/payees.yaml", bytes: file.as_bytes() });
        sources.sort_by_key(|source| source.path);
        Bundle::read(&sources)
    }

    fn own(name: &str, version: u64, items: &[&str]) -> OwnLists {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        [(name.to_owned(), OwnList { version, content: file_of(&items, "c2FsdA") })].into()
    }

    fn check(bundle: &Bundle, action: &str, expected: &[(&str, u64)]) {
        let expected =
            expected.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect();
        assert_eq!(bundle.rests_on("web", action), expected, "{action}");
    }

    #[test]
    fn p15_a_verdict_rests_on_the_lists_that_clauses_for_its_tool_and_action_name() {
        let bundle = bundle();
        check(&bundle, "get", &[("days", 0), ("hosts", 0)]);
        check(&bundle, "put", &[("aims", 0), ("days", 0), ("payees", 0)]);
        check(&bundle, "other", &[("days", 0)]);
        assert_eq!(bundle.rests_on("elsewhere", "get"), [("days".to_owned(), 0)].into());
        let digest = bundle.digest().to_owned();
        let with = bundle.with_lists(&own("hosts", 3, &["b.example", "a.example"])).unwrap();
        check(&with, "get", &[("days", 0), ("hosts", 3)]);
        assert_eq!(with.items("hosts").unwrap().len(), 2);
        assert_eq!(with.digest(), digest, "people approved the bundle by its own files");
    }

    #[test]
    fn p17_a_version_replaces_the_items_of_its_list_alone() {
        let with = |name: &str, items: &[&str]| bundle().with_lists(&own(name, 1, items));
        let changed = with("payees", &["z"]).unwrap();
        assert!(changed.items("payees").unwrap().contains("z"));
        assert_eq!(
            changed.items("payees").unwrap().len(),
            1,
            "the file of the bundle does not count"
        );
        assert_eq!(changed.items("hosts"), bundle().items("hosts"));
        assert_eq!(with("unknown", &["z"]).unwrap().lists().count(), 4);
        assert!(with("payees", &["a\u{202e}b"]).is_err());
        let broken = OwnList { version: 1, content: "language: 1\nmore: 2\n".into() };
        assert!(bundle().with_lists(&[("payees".to_owned(), broken)].into()).is_err());
    }

    #[test]
    fn an_item_of_another_form_has_its_place() {
        let told = |file: &str| -> Vec<String> {
            let mistakes = with_payees(file).err().unwrap_or_default();
            mistakes.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            told("language: 1\nform: country\nitems: [SY, Syria]\n"),
            [
                "lists/payees.yaml:3:13: \"Syria\": the list names countries: write two capital letters, such as SY"
            ]
        );
        assert_eq!(told("language: 1\nmatches: \"[a-z]+\"\nitems: [a, b]\n"), [""; 0]);
        assert_eq!(told("language: 1\nmatches: \"[a-z]+\"\nitems: [a, B]\n").len(), 1);
        assert!(
            told("language: 1\nform: contry\nitems: []\n")[0]
                .starts_with("lists/payees.yaml:2:7: \"contry\" is no form")
        );
        assert!(told("language: 1\nform: host\nmatches: x\nitems: []\n")[0].contains("not both"));
        assert!(
            told("language: 1\nmatches: \"(\"\nitems: []\n")[0].contains("no regular expression")
        );
    }

    #[test]
    fn items_fit_the_clauses_that_name_the_list() {
        let bundle = bundle();
        let check = |list: &str, item: &str, fits: bool| {
            assert_eq!(bundle.unfit(list, item).is_none(), fits, "{list} {item}");
        };
        check("hosts", "*.bank.example", true);
        check("hosts", "https://bank.example", false);
        check("days", "2026-12-26", true);
        check("days", "tomorrow", false);
        check("payees", "https://bank.example", true);
        let formed = own("payees", 2, &["DE89370400440532013000"]);
        let formed =
            with_payees("language: 1\nform: iban\nitems: []\n").unwrap().with_lists(&formed);
        let formed = formed.unwrap();
        assert_eq!(formed.unfit("payees", "DE02120300000000202051"), None);
        assert!(
            formed.unfit("payees", "DE02120300000000202052").unwrap().contains("check digits"),
            "the bundle's form counts for each version"
        );
        assert_eq!(bundle.naming("payees"), ["p/nested (approval_needed)"]);
        assert_eq!(bundle.naming("hosts"), ["p/web (allow)"]);
        assert_eq!(bundle.naming("unknown"), [""; 0]);
    }
}
