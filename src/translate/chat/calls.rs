//! A call of a tool as an answer tells it, whole or in pieces. Hosts leave out what OpenAI always says, or say it otherwise.
//! <https://platform.openai.com/docs/api-reference/chat/object>

use std::borrow::Cow;

use crate::prompt::json::RawStr;

use super::super::read::{members, string};
use super::super::said::Said;
use super::super::talk::{Arguments, Call, Reasoning, Sealed};
use super::super::{Untranslatable, ids};
use super::SIGNATURE;

/// What an item of `tool_calls` says.
#[derive(Default)]
pub(super) struct Told<'b> {
    /// Its number in a stream; some number none.
    pub(super) index: Option<u64>,
    pub(super) id: Option<RawStr<'b>>,
    pub(super) name: Option<RawStr<'b>>,
    /// What it is called with, as it is spelt: a string, or from some hosts the object itself.
    pub(super) input: Option<&'b str>,
    /// Google's signature.
    pub(super) signature: Option<RawStr<'b>>,
    /// Whether the tool takes a text.
    pub(super) is_text: bool,
}

impl<'b> Told<'b> {
    /// Reads one. What is empty is as good as left out.
    pub(super) fn read(field: &'static str, json: &'b str) -> Result<Self, Untranslatable> {
        let said = |value: &'b str| string(value).filter(|text| !text.raw.is_empty());
        let mut told = Self::default();
        members(field, json, |key, value| {
            match key {
                "index" => told.index = value.parse().ok(),
                "id" => told.id = said(value),
                "function" | "custom" => {
                    told.is_text = key == "custom";
                    members(field, value, |key, value| {
                        match key {
                            "name" => told.name = said(value),
                            "arguments" | "input" => told.input = Some(value),
                            _ => {}
                        }
                        Ok(())
                    })?;
                }
                "extra_content" => told.signature = read_signature(field, value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(told)
    }

    /// The whole call, the `index`-th of the answer called `answer`, behind the seal that belongs to it.
    pub(super) fn whole(self, answer: &str, index: u64, into: &mut Vec<Said<'b>>) -> Result<(), Untranslatable> {
        const FIELD: &str = "choices.message.tool_calls";
        let id: Cow<'b, str> = self.id.map_or_else(|| ids::unnamed(answer, index).into(), RawStr::decode);
        let name = self.name.ok_or(Untranslatable::field(FIELD, "has no `name`"))?;
        if let Some(signature) = self.signature {
            let sealed = Some(Sealed::Google { call: id.clone(), signature: signature.decode() });
            into.push(Said::Reasons(Reasoning { texts: Vec::new(), sealed }));
        }
        let quoted = self.input.map_or(Some(RawStr { raw: "", escaped: false }), string);
        let arguments = match (quoted, self.input) {
            (Some(text), _) if self.is_text => Arguments::Text(text),
            (Some(text), _) => Arguments::Quoted(text),
            (None, Some(json)) if json.starts_with('{') => Arguments::Json(json),
            _ => return Err(Untranslatable::field(FIELD, "has `arguments` that are neither a string nor an object")),
        };
        into.push(Said::Calls(Call { id, name: name.raw.into(), arguments }));
        Ok(())
    }
}

fn read_signature<'b>(field: &'static str, json: &'b str) -> Result<Option<RawStr<'b>>, Untranslatable> {
    let mut signature = None;
    if json.starts_with('{') {
        members(field, json, |key, value| match (key, value.starts_with('{')) {
            ("google", true) => members(field, value, |key, value| {
                if key == SIGNATURE {
                    signature = string(value).filter(|text| !text.raw.is_empty());
                }
                Ok(())
            }),
            _ => Ok(()),
        })?;
    }
    Ok(signature)
}
