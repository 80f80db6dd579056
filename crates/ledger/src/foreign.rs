//! Strings that others wrote, made harmless to look at: nothing in them moves, hides or reorders what stands beside them.

/// The text with every character that can't be seen or that changes its surroundings shown as `\u{…}`: control, bidi,
/// zero-width, filler and variation characters, and separators of lines.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// Whether a character is invisible, or has an effect beyond its own place (Unicode `Cc`, `Default_Ignorable`, `Zl`, `Zp`,
/// blank letters).
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        assert_eq!(harmless(text), shown);
    }

    #[test]
    fn foreign_strings_are_made_harmless() {
        check("a\u{1b}[31m\u{202e}b\u{9b}", "a\\u{1b}[31m\\u{202e}b\\u{9b}");
        check("pay\u{200b}ee\u{fe0f}", "pay\\u{200b}ee\\u{fe0f}");
        check("one\ntwo\u{2028}", "one\\u{a}two\\u{2028}");
        check("Zürich € 東京 مرحبا", "Zürich € 東京 مرحبا");
    }
}
