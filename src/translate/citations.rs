//! Places on the web that an answer refers to: `citations` of Messages, `annotations` of Chat Completions and Responses.
//!
//! OpenAI says by their numbers which characters refer to a place, Anthropic by the block that they stand in. In between they are
//! counted over all texts of an answer, one behind the other. What refers to documents, files and results of the client's
//! has no counterpart, and neither have the quotes and the index that Anthropic's have.
//! <https://platform.openai.com/docs/guides/tools-web-search>,
//! <https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool#citations>

use std::borrow::Cow;
use std::ops::Range;

use crate::prompt::json::RawStr;

use super::Untranslatable;
use super::read::{items, members, string};
use super::write::Out;

/// A place that a text refers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Citation<'b> {
    /// Its address and its title, as they are spelt between their quotes.
    pub place: Place<'b>,
    /// The characters that refer to it, of all texts of the answer.
    pub characters: Range<u64>,
}

/// A place on the web, as it is spelt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place<'b> {
    url: Cow<'b, str>,
    /// Empty where it has none.
    title: Cow<'b, str>,
}

impl Place<'_> {
    /// The same, to be kept.
    pub fn into_owned(self) -> Place<'static> {
        Place { url: self.url.into_owned().into(), title: self.title.into_owned().into() }
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.url.len() + self.title.len()
    }

    /// Writes its members as OpenAI has them; `characters` are those of the text that the numbers are said of.
    pub(super) fn write(&self, out: &mut Out, characters: Range<u64>) {
        out.key("start_index").number(characters.start).key("end_index").number(characters.end);
        out.key("url").spelt(&self.url).key("title").spelt(&self.title);
    }
}

/// How many characters a text has.
pub(super) fn characters(text: RawStr<'_>) -> u64 {
    if text.escaped { text.decode().chars().count() as u64 } else { text.raw.chars().count() as u64 }
}

/// Reads annotations of OpenAI's on a text that begins behind so many characters. Gives whether there are others than those of
/// places on the web.
pub(super) fn read_annotations<'b>(
    field: &'static str,
    json: &'b str,
    behind: u64,
    mut each: impl FnMut(Citation<'b>) -> Result<(), Untranslatable>,
) -> Result<bool, Untranslatable> {
    let mut are_others = false;
    if !json.starts_with('[') {
        return Ok(true);
    }
    items(field, json, |annotation| match read_annotation(field, annotation, behind)? {
        Some(citation) => each(citation),
        None => {
            are_others = true;
            Ok(())
        }
    })?;
    Ok(are_others)
}

/// Reads an annotation of OpenAI's; nothing if it is of another kind. Chat Completions have what it says in a member of its
/// own.
pub(super) fn read_annotation<'b>(
    field: &'static str,
    json: &'b str,
    behind: u64,
) -> Result<Option<Citation<'b>>, Untranslatable> {
    let mut found = Found::default();
    let mut is_of_web = false;
    if !json.starts_with('{') {
        return Ok(None);
    }
    members(field, json, |key, value| match key {
        "type" => {
            is_of_web = value == r#""url_citation""#;
            Ok(())
        }
        "url_citation" if value.starts_with('{') => members(field, value, |key, value| {
            found.member(key, value);
            Ok(())
        }),
        _ => {
            found.member(key, value);
            Ok(())
        }
    })?;
    let Found { url: Some(url), title, start, end } = found else { return Ok(None) };
    let at = |number: Option<&str>| Some(behind.saturating_add(number?.parse().ok()?));
    let (Some(start), Some(end)) = (at(start), at(end)) else { return Ok(None) };
    Ok(is_of_web.then(|| Citation { place: place(url, title), characters: start..end.max(start) }))
}

/// Reads a citation of Anthropic's; nothing if it is of another kind.
pub(super) fn read_citation<'b>(field: &'static str, json: &'b str) -> Result<Option<Place<'b>>, Untranslatable> {
    let mut found = Found::default();
    let mut is_of_web = false;
    if !json.starts_with('{') {
        return Ok(None);
    }
    members(field, json, |key, value| {
        if key == "type" {
            is_of_web = value == r#""web_search_result_location""#;
        }
        found.member(key, value);
        Ok(())
    })?;
    Ok(found.url.filter(|_| is_of_web).map(|url| place(url, found.title)))
}

fn place<'b>(url: RawStr<'b>, title: Option<RawStr<'b>>) -> Place<'b> {
    Place { url: url.raw.into(), title: title.map_or("", |title| title.raw).into() }
}

/// The members that somebody reads.
#[derive(Default)]
struct Found<'b> {
    url: Option<RawStr<'b>>,
    title: Option<RawStr<'b>>,
    start: Option<&'b str>,
    end: Option<&'b str>,
}

impl<'b> Found<'b> {
    fn member(&mut self, key: &str, value: &'b str) {
        match key {
            "url" => self.url = string(value),
            "title" => self.title = string(value),
            "start_index" => self.start = Some(value),
            "end_index" => self.end = Some(value),
            _ => {}
        }
    }
}
