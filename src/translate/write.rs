//! JSON that is written from front to back: keys in the order in which they are asked for, raw values as they are spelt.

use super::talk::Text;

/// A JSON text under way. Commas are its own business.
#[derive(Debug, Default)]
pub struct Out {
    text: String,
    /// Whether a value stands before the place of writing, so that a comma is due.
    behind_value: bool,
}

impl Out {
    /// Begins with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), behind_value: false }
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.text
    }

    /// Opens an object.
    pub fn object(&mut self) -> &mut Self {
        self.open('{')
    }

    /// Closes an object.
    pub fn end_object(&mut self) -> &mut Self {
        self.close('}')
    }

    /// Opens the object again that was closed just now.
    pub fn reopen(&mut self) -> &mut Self {
        debug_assert!(self.text.ends_with('}'), "no object was closed");
        self.text.pop();
        // One without members is none that is opened again.
        self.behind_value = true;
        self
    }

    /// How long it is.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Opens an array.
    pub fn array(&mut self) -> &mut Self {
        self.open('[')
    }

    /// Closes an array.
    pub fn end_array(&mut self) -> &mut Self {
        self.close(']')
    }

    /// Writes a key that needs no escapes; its value comes next.
    pub fn key(&mut self, key: &'static str) -> &mut Self {
        self.comma();
        self.text.push('"');
        self.text.push_str(key);
        self.text.push_str("\":");
        self.behind_value = false;
        self
    }

    /// Writes a value as it is spelt.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.comma();
        self.text.push_str(json);
        self.behind_value = true;
        self
    }

    /// Writes a whole number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.raw(&number.to_string())
    }

    /// Writes a string.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.pieces(&[Text::Plain(text.into())])
    }

    /// Writes a string that is spelt already.
    pub fn spelt(&mut self, text: &str) -> &mut Self {
        self.pieces(&[Text::Spelt(text)])
    }

    /// Writes one string of several pieces.
    pub fn pieces(&mut self, pieces: &[Text<'_>]) -> &mut Self {
        self.comma();
        self.text.push('"');
        for piece in pieces {
            match piece {
                Text::Spelt(text) => self.text.push_str(text),
                Text::Plain(text) => escape(text, &mut self.text),
            }
        }
        self.text.push('"');
        self.behind_value = true;
        self
    }

    fn open(&mut self, bracket: char) -> &mut Self {
        self.comma();
        self.text.push(bracket);
        self.behind_value = false;
        self
    }

    fn close(&mut self, bracket: char) -> &mut Self {
        self.text.push(bracket);
        self.behind_value = true;
        self
    }

    fn comma(&mut self) {
        if self.behind_value {
            self.text.push(',');
        }
    }
}

/// Writes characters as they stand between quotes; what need not be escaped is not.
/// <https://www.rfc-editor.org/rfc/rfc8259#section-7>
pub fn escape(text: &str, out: &mut String) {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        out.push_str(short);
        if short.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_where_they_must() {
        let mut out = Out::default();
        out.object().key("a").array().end_array().key("b").array().number(1).object().end_object().string("x");
        out.end_array().key("c").raw("null").end_object();
        assert_eq!(out.finish(), r#"{"a":[],"b":[1,{},"x"],"c":null}"#);
    }

    #[test]
    fn what_is_escaped_reads_as_it_was() {
        let text = "a\"b\\c\n\r\t\u{1}\u{7f}ü\u{2028}😀/";
        let mut out = Out::default();
        out.string(text);
        assert_eq!(serde_json::from_str::<String>(&out.finish()).unwrap(), text);
    }

    #[test]
    fn what_is_spelt_stays_as_it_is() {
        let mut out = Out::default();
        out.pieces(&[Text::Plain("<\n".into()), Text::Spelt(r"\u00e4\/"), Text::Plain(">".into())]);
        assert_eq!(out.finish(), r#""<\n\u00e4\/>""#);
    }
}
