//! Files of plain text: what is written in them is said, where a target reads no other file.

use std::borrow::Cow;

use super::talk::{Source, Text};

/// The media type of a file that came without one, by its name: without a name that tells, a PDF.
pub(super) fn type_of(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match &*extension {
        "txt" | "text" | "log" => "text/plain",
        "md" | "markdown" => "text/markdown",
        "csv" => "text/csv",
        "htm" | "html" => "text/html",
        "xml" => "text/xml",
        "json" => "application/json",
        _ => "application/pdf",
    }
}

/// The text of a file in base64 that is one of text, if it is.
pub(super) fn text_of(source: &Source<'_>) -> Option<String> {
    let Source::Data { media_type, data } = source else { return None };
    let kind = media_type.decode().to_ascii_lowercase();
    if !kind.starts_with("text/") && kind != "application/json" {
        return None;
    }
    String::from_utf8(decoded(&data.decode())?).ok()
}

/// A media type as it is registered: some write it as a name ends. <https://www.iana.org/assignments/media-types#image>
pub(super) fn registered<'t>(media_type: &Text<'t>) -> Text<'t> {
    match &*media_type.decode() {
        "image/jpg" => Text::Plain(Cow::Borrowed("image/jpeg")),
        _ => media_type.clone(),
    }
}

/// <https://www.rfc-editor.org/rfc/rfc4648#section-4>, with or without what fills it up.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'\r' | b'\n' => continue,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(media_type: &'static str, data: &'static str) -> Source<'static> {
        Source::Data { media_type: Text::Spelt(media_type), data: Text::Spelt(data) }
    }

    #[test]
    fn a_file_of_text_says_what_is_written_in_it() {
        for (data, text) in [("", ""), ("YQ==", "a"), ("YQ", "a"), ("w6TDtg==", "äö"), ("YWJj\nZA==", "abcd")] {
            assert_eq!(text_of(&file("text/plain", data)).as_deref(), Some(text));
        }
        assert_eq!(text_of(&file("application\\/json", "e30=")).as_deref(), Some("{}"));
        for (kind, data) in [("application/pdf", "YQ=="), ("text/plain", "/w=="), ("text/plain", "a?b=")] {
            assert_eq!(text_of(&file(kind, data)), None, "{kind} {data}");
        }
    }

    #[test]
    fn a_file_without_a_type_is_told_by_its_name() {
        for (name, kind) in [("a.txt", "text/plain"), ("b.JSON", "application/json"), ("c.pdf", "application/pdf")] {
            assert_eq!(type_of(name), kind);
        }
        assert_eq!(type_of(""), "application/pdf");
    }
}
