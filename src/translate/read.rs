//! What all readers share: values of JSON as they are spelt, member by member.
//!
//! A body is read strictly from end to end once, when its members are looked for. What is handed out of it is a whole value, which
//! is not read again for its own sake: a long conversation is passed as seldom as can be.

use crate::prompt::json::{JsonError, RawStr, Scanner};

use super::Untranslatable;

/// Where a value is read: in a text that is one, or where a scanner stands before one.
pub(super) trait Place<'b> {
    fn read<T>(self, read: impl FnOnce(&mut Scanner<'b>) -> T) -> T;
}

impl<'b> Place<'b> for &'b str {
    fn read<T>(self, read: impl FnOnce(&mut Scanner<'b>) -> T) -> T {
        read(&mut Scanner::new(self))
    }
}

impl<'b> Place<'b> for &mut Scanner<'b> {
    fn read<T>(self, read: impl FnOnce(&mut Scanner<'b>) -> T) -> T {
        read(self)
    }
}

/// Reads the members of an object, each value as it is spelt. `null` is no value.
pub(super) fn members<'b>(
    field: &'static str,
    json: impl Place<'b>,
    mut member: impl FnMut(&str, &'b str) -> Result<(), Untranslatable>,
) -> Result<(), Untranslatable> {
    each_member(field, json, |key, s| value(s)?.map_or(Ok(()), |value| member(key, value)))
}

/// Reads the members of an object where they stand; `member` must read the value.
pub(super) fn each_member<'b>(
    field: &'static str,
    json: impl Place<'b>,
    mut member: impl FnMut(&str, &mut Scanner<'b>) -> Result<(), Untranslatable>,
) -> Result<(), Untranslatable> {
    json.read(|s| {
        if s.peek() != Some(b'{') {
            return Err(Untranslatable::field(field, "must be an object"));
        }
        s.object::<Untranslatable>(|s, key| member(&key.decode(), s))?;
        Ok(())
    })
}

/// Reads a value as it is spelt. `null` is none.
pub(super) fn value<'b>(s: &mut Scanner<'b>) -> Result<Option<&'b str>, JsonError> {
    let at = s.skip()?;
    Ok(Some(s.text(at)).filter(|value| *value != "null"))
}

/// Reads the items of an array, each as it is spelt.
pub(super) fn items<'b>(
    field: &'static str,
    json: &'b str,
    mut item: impl FnMut(&'b str) -> Result<(), Untranslatable>,
) -> Result<(), Untranslatable> {
    each_item(field, json, |s| {
        let at = s.skip()?;
        item(s.text(at))
    })
}

/// Reads the items of an array where they stand; `item` must read the value.
pub(super) fn each_item<'b>(
    field: &'static str,
    json: &'b str,
    mut item: impl FnMut(&mut Scanner<'b>) -> Result<(), Untranslatable>,
) -> Result<(), Untranslatable> {
    items_while(field, json, |s| item(s).map(|()| true))
}

/// The same up to and with the first of which `item` says that it is the last.
pub(super) fn items_while<'b>(
    field: &'static str,
    json: &'b str,
    mut item: impl FnMut(&mut Scanner<'b>) -> Result<bool, Untranslatable>,
) -> Result<(), Untranslatable> {
    let mut s = Scanner::new(json);
    if s.peek() != Some(b'[') {
        return Err(Untranslatable::field(field, "must be an array"));
    }
    let read = s.array(|s| match item(s) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Stop::Enough),
        Err(error) => Err(Stop::Broken(error)),
    });
    match read {
        Err(Stop::Broken(error)) => Err(error),
        Ok(_) | Err(Stop::Enough) => Ok(()),
    }
}

/// Why an array is not read to its end.
enum Stop {
    Enough,
    Broken(Untranslatable),
}

impl From<JsonError> for Stop {
    fn from(error: JsonError) -> Self {
        Self::Broken(error.into())
    }
}

/// A string's text; nothing if the value is no string. The value is one that was read before.
pub(super) fn string(json: &str) -> Option<RawStr<'_>> {
    let raw = json.strip_prefix('"')?.strip_suffix('"')?;
    Some(RawStr { raw, escaped: memchr::memchr(b'\\', raw.as_bytes()).is_some() })
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
