//! Names of countries: those of ISO 3166-1, in English.

/// The name of a country by its code of two capital letters: `Kuwait` for `KW`. `None` for what is no such code.
pub(super) fn name(code: &str) -> Option<&'static str> {
    rust_iso3166::from_alpha2(code).map(|country| country.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names() {
        assert_eq!(name("KW"), Some("Kuwait"));
        assert_eq!(name("DE"), Some("Germany"));
        for none in ["", "kw", "KWT", "ZZ", "K", "\u{41a}W"] {
            assert_eq!(name(none), None, "{none:?}");
        }
    }
}
