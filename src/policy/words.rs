//! Words of bullets: ids from prose, quotes around requests, the arrow of a test.

use crate::limits::NAME_BYTES_MAX;

/// Pairs of quotes that people put around requests.
const QUOTES: [(char, char); 11] = [
    ('"', '"'),
    ('\'', '\''),
    ('“', '”'),
    ('„', '“'),
    ('„', '”'),
    ('‘', '’'),
    ('‚', '‘'),
    ('«', '»'),
    ('»', '«'),
    ('「', '」'),
    ('”', '”'),
];
/// Ways to write the arrow of a test.
const ARROWS: [&str; 4] = ["→", "->", "⇒", "=>"];

/// The id that a bullet's text makes: what stands in front of the first parenthesis, in lower case, with `-` between the
/// words. Letters of any alphabet stay.
pub(super) fn slug(text: &str) -> String {
    let before = text.split(['(', '（']).next().filter(|before| !before.trim().is_empty()).unwrap_or(text);
    let mut slug = String::new();
    let mut parted = false;
    for c in before.chars().filter(|c| !matches!(c, '\'' | '’')) {
        if !c.is_alphanumeric() {
            parted = true;
            continue;
        }
        let lower = c.to_lowercase();
        let between = usize::from(parted && !slug.is_empty());
        if slug.len() + between + lower.clone().map(char::len_utf8).sum::<usize>() > NAME_BYTES_MAX {
            break;
        }
        if between == 1 {
            slug.push('-');
        }
        parted = false;
        slug.extend(lower);
    }
    slug
}

/// A request without the quotes around it, and without the full stop behind them.
pub(super) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let bare =
        text.strip_suffix(['.', ',', ';']).filter(|bare| bare.ends_with(|c| QUOTES.iter().any(|(_, end)| *end == c)));
    let inside = |text| {
        QUOTES.iter().find_map(|(open, close)| {
            let inside = str::strip_prefix(text, *open)?.strip_suffix(*close)?;
            // `"a" or "b"` is not one quotation.
            (!inside.contains([*open, *close]) || (*open == '\'' || *open == '‘') && !inside.contains("' "))
                .then_some(inside)
        })
    };
    bare.and_then(inside).or_else(|| inside(text)).unwrap_or(text).trim()
}

/// What stands on both sides of the last arrow.
pub(super) fn split_arrow(text: &str) -> Option<(&str, &str)> {
    let (at, arrow) = ARROWS.iter().filter_map(|arrow| Some((text.rfind(arrow)?, arrow))).max()?;
    // `-->` is an arrow with a longer shaft.
    Some((text[..at].trim_end_matches('-').trim(), text[at + arrow.len()..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_stands_in_front_of_the_parenthesis() {
        for (text, expected) in [
            ("Log parsing and categorization", "log-parsing-and-categorization"),
            ("Novel failure diagnosis (patterns not seen before)", "novel-failure-diagnosis"),
            ("Prüfung der Größen", "prüfung-der-größen"),
            ("日志解析（批量）", "日志解析"),
            ("Don't-know's / C++ & co.", "dont-knows-c-co"),
            ("(only a remark)", "only-a-remark"),
            ("…", ""),
        ] {
            assert_eq!(slug(text), expected, "{text}");
        }
        let long = slug(&"größe ".repeat(100));
        assert!(long.len() <= NAME_BYTES_MAX && !long.ends_with('-'), "{long}");
    }

    #[test]
    fn quotes_of_any_style_are_taken_off() {
        for text in ["\"a b\"", "'a b'", "“a b”", "„a b“", "«a b»", "「a b」", "”a b”", "\"a b\".", "a b", " a b "]
        {
            assert_eq!(unquoted(text), "a b", "{text}");
        }
        for text in ["\"a\" or \"b\"", "say \"a\"", "a."] {
            assert_eq!(unquoted(text), text);
        }
        assert_eq!(unquoted("'it's late'"), "it's late");
    }

    #[test]
    fn the_last_arrow_parts_a_test() {
        for text in ["\"x -> y\" → z", "\"x -> y\" -> z", "\"x -> y\" --> z", "\"x -> y\" => z"] {
            assert_eq!(split_arrow(text), Some(("\"x -> y\"", "z")), "{text}");
        }
        assert_eq!(split_arrow("no arrow"), None);
    }
}
