//! Parts of messages, and of what tools answer, in a request of Responses: texts, images and files.
//!
//! They are read where they stand, since most of a long conversation is that; what they mean is told once it is known what
//! kind of item they belong to.

use crate::prompt::json::{RawStr, Scanner};

use super::super::chat::read_turns::read_data;
use super::super::read::{Place, given, members, string, value};
use super::super::talk::{Each, Item, Kind, Part, Source, Text};
use super::super::{Untranslatable, plain};

/// A marker of Messages for five minutes, for a breakpoint that lasts no longer than an hour.
const MARK: &str = r#"{"type":"ephemeral"}"#;
/// A marker of Messages for an hour.
const MARK_HOUR: &str = r#"{"type":"ephemeral","ttl":"1h"}"#;

/// What a message or the output of a tool says.
pub(super) enum Content<'b> {
    /// A text alone, as it is spelt.
    Alone(&'b str),
    /// Parts; those that are none are nothing.
    Parts(Vec<Option<PartFields<'b>>>),
}

impl<'b> Content<'b> {
    /// Reads it; `null` is nothing.
    pub(super) fn read(s: &mut Scanner<'b>) -> Result<Option<Self>, Untranslatable> {
        if s.peek() != Some(b'[') {
            return Ok(value(s)?.map(Self::Alone));
        }
        let mut parts = Vec::new();
        s.array::<Untranslatable>(|s| {
            parts.push(match s.peek() {
                Some(b'{') => Some(PartFields::read(s)?),
                _ => {
                    s.pass()?;
                    None
                }
            });
            Ok(())
        })?;
        Ok(Some(Self::Parts(parts)))
    }
}

/// Tells the parts of a message or of an output.
pub(super) fn read_content<'b>(
    content: Option<Content<'b>>,
    each: &mut Each<'_, 'b>,
    into: &mut Vec<Part<'b>>,
) -> Result<(), Untranslatable> {
    match content {
        None => {}
        Some(Content::Alone(alone)) => {
            let text = string(alone).ok_or(Untranslatable::field("input.content", "must be an array"))?;
            into.push(Part::text(text));
        }
        Some(Content::Parts(parts)) => {
            into.reserve(parts.len());
            for part in parts {
                let part = part.ok_or(Untranslatable::field("input.content", "must be an object"))?;
                into.push(part.part(each)?);
            }
        }
    }
    Ok(())
}

/// The members of a part that somebody reads, as they are spelt.
#[derive(Default)]
pub(super) struct PartFields<'b> {
    kind: Option<&'b str>,
    said: Option<&'b str>,
    name: Option<&'b str>,
    file_id: Option<&'b str>,
    file_url: Option<&'b str>,
    annotations: Option<&'b str>,
    mark: Option<&'b str>,
}

impl<'b> PartFields<'b> {
    fn read(json: impl Place<'b>) -> Result<Self, Untranslatable> {
        let mut part = Self::default();
        members("input.content", json, |key, value| {
            let place = match key {
                "type" => &mut part.kind,
                "text" | "refusal" | "image_url" | "file_data" => &mut part.said,
                "filename" => &mut part.name,
                "file_id" => &mut part.file_id,
                "file_url" => &mut part.file_url,
                "annotations" => &mut part.annotations,
                "prompt_cache_breakpoint" => &mut part.mark,
                _ => return Ok(()),
            };
            *place = Some(value);
            Ok(())
        })?;
        Ok(part)
    }

    fn part(self, each: &mut Each<'_, 'b>) -> Result<Part<'b>, Untranslatable> {
        let Self { kind, said, name, file_id, file_url, annotations, mark } = self;
        let mark = mark.map(read_mark).transpose()?;
        if annotations.is_some_and(|annotations| annotations.starts_with('[') && annotations.len() > 2) {
            each(Item::Left("input.content.annotations"))?;
        }
        let name = name.and_then(string);
        let kind = match &*given("input.content.type", kind)?.decode() {
            "input_text" | "output_text" | "text" => Kind::Text(given("input.content.text", said)?.into()),
            "refusal" => Kind::Text(given("input.content.refusal", said)?.into()),
            "input_image" | "input_file" if file_id.is_some() => {
                return Err(Untranslatable::field("input.content.file_id", "is a file that only OpenAI has"));
            }
            "input_image" => {
                let url = given("input.content.image_url", said)?;
                Kind::Image(read_data("input.content.image_url", url)?.unwrap_or(Source::Url(url)))
            }
            "input_file" => match file_url.and_then(string) {
                Some(url) => Kind::File { source: Source::Url(url), name },
                None => Kind::File { source: read_file(given("input.content.file_data", said)?, name)?, name },
            },
            _ => return Err(Untranslatable::field("input.content.type", "is one that the target has not")),
        };
        Ok(Part { kind, mark })
    }
}

/// A file that stands in the body, in base64 alone or as a data URL. The one says what it is by its name alone.
fn read_file<'b>(data: RawStr<'b>, name: Option<RawStr<'_>>) -> Result<Source<'b>, Untranslatable> {
    let kind = plain::type_of(&name.map(RawStr::decode).unwrap_or_default());
    let bare = || Source::Data { media_type: Text::Plain(kind.into()), data: data.into() };
    Ok(read_data("input.content.file_data", data)?.unwrap_or_else(bare))
}

fn read_mark(value: &str) -> Result<&'static str, Untranslatable> {
    let mut mark = MARK;
    members("input.content.prompt_cache_breakpoint", value, |key, value| {
        if key == "ttl" && value != r#""5m""# {
            mark = MARK_HOUR;
        }
        Ok(())
    })?;
    Ok(mark)
}
