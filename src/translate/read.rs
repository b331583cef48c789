//! What all readers share: values of JSON as they are spelt, member by member.

use crate::prompt::json::{JsonError, RawStr, Scanner};

use super::Untranslatable;

/// Reads the members of an object, each value as it is spelt. `null` is no value.
pub(super) fn members<'b>(
    field: &'static str,
    json: &'b str,
    mut member: impl FnMut(&str, &'b str) -> Result<(), Untranslatable>,
) -> Result<(), Untranslatable> {
    let mut s = Scanner::new(json);
    if s.peek() != Some(b'{') {
        return Err(Untranslatable::field(field, "must be an object"));
    }
    s.object::<Untranslatable>(|s, key| {
        let at = s.skip()?;
        let value = s.text(at);
        if value == "null" { Ok(()) } else { member(&key.decode(), value) }
    })?;
    Ok(())
}

/// Reads the items of an array, each as it is spelt.
pub(super) fn items<'b>(
    field: &'static str,
    json: &'b str,
    mut item: impl FnMut(&'b str) -> Result<(), Untranslatable>,
) -> Result<(), Untranslatable> {
    let mut s = Scanner::new(json);
    if s.peek() != Some(b'[') {
        return Err(Untranslatable::field(field, "must be an array"));
    }
    s.array::<Untranslatable>(|s| {
        let at = s.skip()?;
        item(s.text(at))
    })?;
    Ok(())
}

/// A string's text; nothing if the value is no string.
pub(super) fn string(json: &str) -> Option<RawStr<'_>> {
    Scanner::new(json).string().ok()
}

/// A string's text.
pub(super) fn text<'b>(field: &'static str, json: &'b str) -> Result<RawStr<'b>, Untranslatable> {
    string(json).ok_or(Untranslatable::field(field, "must be a string"))
}

/// A string's text, from a member that must be there.
pub(super) fn given<'b>(field: &'static str, json: Option<&'b str>) -> Result<RawStr<'b>, Untranslatable> {
    json.and_then(string).ok_or(Untranslatable::field(field, "must be a string"))
}

/// `true` or `false`.
pub(super) fn switch(field: &'static str, json: &str) -> Result<bool, Untranslatable> {
    match json {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Untranslatable::field(field, "must be true or false")),
    }
}

/// Whether a text has nothing but white space in it.
pub(super) fn is_blank(text: RawStr<'_>) -> bool {
    text.decode().trim().is_empty()
}

/// Whether a text is one JSON object and nothing else.
pub(super) fn is_object(json: &str) -> bool {
    let mut s = Scanner::new(json);
    let read = |s: &mut Scanner<'_>| -> Result<bool, JsonError> {
        let is_object = s.peek() == Some(b'{');
        s.pass()?;
        s.end()?;
        Ok(is_object)
    };
    read(&mut s).unwrap_or(false)
}
