use super::*;
use proptest::prelude::*;

fn quorum(text: &str) -> Quorum {
    serde_json::from_str(text).unwrap()
}

/// `"ann:finance,legal bob:legal"`
fn people(text: &str) -> People {
    let person = |text: &str| {
        let (name, groups) = text.split_once(':').unwrap();
        (Ident::new(name).unwrap(), groups.split(',').map(str::to_owned).collect())
    };
    text.split_whitespace().map(person).collect()
}

/// `by`: the people who fill the places, or, after a `-`, the people still needed.
fn check(text: &str, approvers: &str, by: &str) {
    let (quorum, people) = (quorum(text), people(approvers));
    assert_eq!(quorum.check(), Ok(()));
    let needed = quorum.needed(&people);
    let found = match quorum.met(&people) {
        Some(by) => {
            assert_eq!(needed, []);
            by.iter().map(Ident::as_str).collect::<Vec<_>>().join(" ")
        }
        None => {
            needed.iter().map(|(n, group)| format!("-{n} {group}")).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(found, by, "{text} by {approvers}");
}

#[test]
fn p10_each_person_fills_one_place() {
    let one = r#"{"at_least":1,"of":"f"}"#;
    check(one, "", "-1 f");
    check(one, "ann:l", "-1 f");
    check(one, "ann:f bob:f", "ann");
    check(r#"{"at_least":2,"of":"f"}"#, "ann:f", "-1 f");
    let both = r#"{"all":[{"at_least":1,"of":"f"},{"at_least":1,"of":"l"}]}"#;
    check(both, "ann:f,l", "-1 l");
    check(both, "ann:f,l bob:f", "ann bob");
    check(both, "ann:f,l bob:l", "ann bob");
    check(both, "ann:f bob:f", "-1 l");
    check(r#"{"all":[{"at_least":2,"of":"f"},{"at_least":1,"of":"f"}]}"#, "ann:f bob:f", "-1 f");
}

#[test]
fn p10_the_first_way_that_is_met_counts() {
    let any = r#"{"any":[{"at_least":2,"of":"f"},{"at_least":1,"of":"boss"}]}"#;
    check(any, "ann:f", "-1 f");
    check(any, "", "-1 boss");
    check(any, "zoe:boss", "zoe");
    check(any, "ann:f bob:f zoe:boss", "ann bob");
    let nested = r#"{"all":[{"at_least":1,"of":"f"},{"any":[{"at_least":1,"of":"l"},{"at_least":1,"of":"f"}]}]}"#;
    check(nested, "ann:f", "-1 l");
    check(nested, "ann:f bob:f", "ann bob");
    check(nested, "ann:f bob:l", "ann bob");
    check(nested, "bob:l", "-1 f");
    check(nested, "", "-1 f -1 l");
}

#[test]
fn p13_limits() {
    let refused = |text: &str, error| assert_eq!(quorum(text).check(), Err(error), "{text}");
    let leaf = r#"{"at_least":1,"of":"f"}"#;
    let of =
        |kind: &str, part: &str, count| format!("{{\"{kind}\":[{}]}}", vec![part; count].join(","));
    refused(r#"{"at_least":0,"of":"f"}"#, QuorumError::Places(0));
    refused(r#"{"at_least":17,"of":"f"}"#, QuorumError::Places(17));
    refused(r#"{"at_least":1,"of":""}"#, QuorumError::Group);
    refused(r#"{"at_least":1,"of":"a\n"}"#, QuorumError::Group);
    refused(&format!(r#"{{"at_least":1,"of":"{}"}}"#, "f".repeat(65)), QuorumError::Group);
    refused(&of("all", leaf, 0), QuorumError::Parts(0));
    refused(&of("any", leaf, 9), QuorumError::Parts(9));
    refused(&of("all", &of("any", &of("all", leaf, 1), 1), 1), QuorumError::Depth);
    refused(&of("all", &of("any", leaf, 8), 3), QuorumError::Ways);
    assert_eq!(quorum(&of("all", &of("any", leaf, 4), 4)).check(), Ok(())); // 256 ways
    assert_eq!(quorum(&of("any", r#"{"at_least":16,"of":"f"}"#, 8)).check(), Ok(()));
    let sixteen = r#"{"at_least":16,"of":"f"}"#;
    assert_eq!(quorum(&of("all", sixteen, 4)).check(), Ok(()));
    refused(&of("all", sixteen, 5), QuorumError::People(80));
    let longest = format!(r#"{{"at_least":1,"of":"{}"}}"#, "f".repeat(64));
    assert_eq!(quorum(&longest).check(), Ok(()));
    for unknown in [r#"{"at_least":1,"of":"f","x":1}"#, r#"{"all":[],"any":[]}"#, "{}"] {
        assert!(serde_json::from_str::<Quorum>(unknown).is_err(), "{unknown}");
    }
}

#[test]
fn groups_are_named_once() {
    let text = r#"{"all":[{"at_least":1,"of":"f"},{"any":[{"at_least":1,"of":"l"},{"at_least":2,"of":"f"}]}]}"#;
    assert_eq!(quorum(text).groups(), BTreeSet::from(["f", "l"]));
}

#[test]
fn p10_who_is_indispensable() {
    let check = |text: &str, of: &str, expected: Option<&str>| {
        let names = quorum(text).indispensable(&people(of));
        let names =
            names.map(|names| names.iter().map(Ident::as_str).collect::<Vec<_>>().join(" "));
        assert_eq!(names.as_deref(), expected, "{text} of {of}");
    };
    let two = r#"{"at_least":2,"of":"f"}"#;
    check(two, "ann:f", None);
    check(two, "ann:f bob:f", Some("ann bob"));
    check(two, "ann:f bob:f cid:f", Some(""));
    check(
        r#"{"all":[{"at_least":1,"of":"f"},{"at_least":1,"of":"l"}]}"#,
        "ann:f bob:f cid:l",
        Some("cid"),
    );
}

/// Tries every assignment of people to places.
pub(crate) fn met_by_trying(quorum: &Quorum, people: &People) -> bool {
    fn seats(way: &[&str], people: &People, taken: &mut BTreeSet<Ident>) -> bool {
        let Some((place, rest)) = way.split_first() else { return true };
        people.iter().filter(|(_, groups)| groups.contains(*place)).any(|(person, _)| {
            taken.insert(person.clone()) && {
                let done = seats(rest, people, taken);
                taken.remove(person);
                done
            }
        })
    }
    quorum.ways().iter().any(|way| seats(way, people, &mut BTreeSet::new()))
}

fn any_quorum() -> impl Strategy<Value = Quorum> {
    let leaf = (1..3_u32, "[abc]").prop_map(|(at_least, of)| Quorum::AtLeast { at_least, of });
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|all| Quorum::All { all }),
            proptest::collection::vec(inner, 1..3).prop_map(|any| Quorum::Any { any }),
        ]
    })
}

proptest! {
    /// Matching finds a way exactly if trying all of them does, with distinct people; the people said to be
    /// needed are enough, and fewer are not.
    #[test]
    fn p10_matching_equals_trying(
        quorum in any_quorum(),
        people in proptest::collection::btree_map("[p-t]", proptest::collection::btree_set("[abc]", 0..3), 0..5),
    ) {
        let mut people: People = people.into_iter().map(|(p, g)| (Ident::new(&p).unwrap(), g)).collect();
        for groups in people.values() {
            let asked = quorum.groups().iter().any(|group| groups.contains(*group));
            prop_assert_eq!(quorum.asks(groups), asked);
        }
        let met = quorum.met(&people);
        prop_assert_eq!(met.is_some(), met_by_trying(&quorum, &people));
        if let Some(by) = &met {
            prop_assert!(by.windows(2).all(|pair| pair[0] < pair[1]));
            let chosen = people.iter().filter(|(p, _)| by.contains(p)).map(|(p, g)| (p.clone(), g.clone()));
            prop_assert_eq!(quorum.met(&chosen.collect()), met);
        }
        let needed = quorum.needed(&people);
        let mut helpers = needed.iter().flat_map(|(count, group)| vec![group; *count as usize]);
        prop_assert_eq!(needed.is_empty(), met_by_trying(&quorum, &people));
        for (at, group) in helpers.by_ref().enumerate() {
            prop_assert!(quorum.met(&people).is_none());
            people.insert(Ident::new(&format!("z{at}")).unwrap(), BTreeSet::from([group.clone()]));
        }
        prop_assert!(quorum.met(&people).is_some());
    }
}
