use super::*;

fn check(text: &str, parts: Option<&[&str]>) {
    let found = split_array(text.as_bytes(), 3);
    let found = found.ok().map(|parts| {
        parts.into_iter().map(|p| std::str::from_utf8(p).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(found.as_deref(), parts, "{text}");
}

#[test]
fn p13_gzip_members_are_bounded() {
    use std::io::Write as _;
    let gzip = |text: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    };
    let code = |bytes: &[u8], max| inflate(bytes, max).map_err(|p| p.status().as_u16());
    assert_eq!(
        code(&[gzip(b"one "), gzip(b""), gzip(b"two")].concat(), 7),
        Ok(b"one two".to_vec())
    );
    assert_eq!(code(&[gzip(b"one "), gzip(b"two")].concat(), 6), Err(413));
    assert_eq!(code(&gzip(b"").repeat(GZIP_MEMBERS_MAX), 1), Ok(Vec::new()));
    assert_eq!(code(&gzip(b"").repeat(GZIP_MEMBERS_MAX + 1), 1), Err(400));
    assert_eq!(code(b"", 1), Err(400));
    let whole = gzip(b"text");
    assert_eq!(code(&whole[..whole.len() - 1], 100), Err(400), "cut off");
    assert_eq!(code(&[&whole[..], b"x"].concat(), 100), Err(400), "something behind it");
}

#[test]
fn several_are_seen() {
    let several = |text: &str| assert!(is_several(text.as_bytes()), "{text}");
    let one = |text: &str| assert!(!is_several(text.as_bytes()), "{text}");
    several("{}\n{}");
    several("{\"a\":\"}{\"}{\"b\":[1]}");
    several(" {} , {} ");
    several("{}\r{}\r");
    several("\u{feff}{}\n{}");
    several("\u{1e}{}\n\u{1e}{}\n");
    several("[{}]\n[{}]");
    for text in
        ["", "{}", "{}\n", "{", "{} x", "5 {}", "\"a\" \"b\"", "{\"a\":\"}\\\"{\"}", "}{", ",{}"]
    {
        one(text);
    }
}

#[test]
fn codings() {
    let check = |values: &[&'static str], expected: Option<Coding>| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
        }
        assert_eq!(Coding::read(&headers).ok(), expected, "{values:?}");
    };
    check(&[], Some(Coding::None));
    check(&[""], Some(Coding::None));
    check(&["identity"], Some(Coding::None));
    check(&["Identity, ,identity"], Some(Coding::None));
    check(&["GZip"], Some(Coding::Gzip));
    check(&["x-gzip"], Some(Coding::Gzip));
    check(&["gzip,identity"], Some(Coding::Gzip));
    check(&["identity\t,\tgzip ,"], Some(Coding::Gzip));
    check(&["identity", "gzip"], Some(Coding::Gzip));
    check(&["gzip, gzip"], None);
    check(&["gzip", "gzip"], None);
    check(&["br"], None);
    check(&["gzip, br"], None);
    check(&["*"], None);
    check(&["gzip;q=1"], None);
}

#[test]
fn arrays_are_split() {
    check("[]", Some(&[]));
    check(r#" [ {"a":[1,2]} , "x,]" ,3] "#, Some(&[r#"{"a":[1,2]}"#, r#""x,]""#, "3"]));
    check(r#"["\"",{}]"#, Some(&[r#""\"""#, "{}"]));
    check("[1,,2]", Some(&["1", "", "2"]));
    check("[1,2,3,4]", None);
    assert_eq!(split_array(b"[1,2,3,4]", 3), Err(Unsplit::TooMany));
    check("[1", None);
    check("[}]", None);
    check("[\"]", None);
}
