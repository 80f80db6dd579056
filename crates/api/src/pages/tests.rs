use super::*;

fn check(url: &str, origin: &str) {
    assert_eq!(origin_of(url), origin);
}

#[test]
fn origins_are_as_browsers_write_them() {
    check("https://Log.example.com/", "https://log.example.com");
    check("https://log.example.com:443/c", "https://log.example.com");
    check("http://127.0.0.1:8470", "http://127.0.0.1:8470");
    check("http://localhost:80", "http://localhost");
}

fn check_form(site: Option<&str>, origin: Option<&str>, host: &str, from: &FormOf) {
    let judged = judge(site, origin, host, "http://127.0.0.1:8470");
    assert_eq!(&judged, from, "{site:?} {origin:?} {host}");
}

#[test]
fn forms_come_from_our_own_pages_at_our_own_address() {
    let (ours, host, same) = ("http://127.0.0.1:8470", "127.0.0.1:8470", Some("same-origin"));
    check_form(same, Some(ours), host, &FormOf::Ours);
    check_form(same, Some("null"), host, &FormOf::Ours);
    check_form(same, None, host, &FormOf::Ours);
    check_form(None, Some(ours), host, &FormOf::Ours);
    check_form(None, None, host, &FormOf::Stranger);
    check_form(None, Some("null"), host, &FormOf::Stranger);
    for site in ["cross-site", "same-site", "none", "?"] {
        check_form(Some(site), Some(ours), host, &FormOf::Stranger);
        check_form(Some(site), Some("http://localhost:8470"), "localhost:8470", &FormOf::Stranger);
    }
    check_form(same, Some("http://localhost:8470"), "localhost:8470", &FormOf::OtherAddress);
    check_form(None, Some("https://a.example"), "a.example", &FormOf::OtherAddress);
    check_form(same, Some("http://evil.example"), "localhost:8470", &FormOf::Stranger);
    check_form(None, Some("http://evil.example"), host, &FormOf::Stranger);
}
