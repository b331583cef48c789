//! What an answer of Responses repeats of its request, and what the request says of how to answer.
//!
//! <https://platform.openai.com/docs/api-reference/responses/object>

use super::super::read::{given, items, members, string};
use super::super::write::Out;
use super::super::{Untranslatable, text_of};
use super::names;

/// What is so where a request says nothing of it.
const DEFAULTS: [(&str, &str); 14] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("prompt_cache_key", "null"),
    ("prompt_cache_retention", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("temperature", "null"),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_p", "null"),
    ("user", "null"),
];

/// What is so of every answer of another dialect, whatever was asked: nobody keeps it, at the standard price.
const FIXED: &str = r#""background":false,"previous_response_id":null,"service_tier":"default","store":false,"top_logprobs":0,"truncation":"disabled""#;

/// What an answer repeats of a request.
#[derive(Debug)]
pub struct Echo {
    /// Members of every response object, with commas between.
    members: String,
    /// Tools that had another name or another shape where they were called.
    tools: Vec<Named>,
    /// Whether the client takes sealed thoughts.
    takes_seals: bool,
}

/// A tool as the client knows it. Names are as they are spelt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    flat: String,
    /// Its name.
    pub name: String,
    /// The namespace in which it stands.
    pub namespace: Option<String>,
    /// Whether it takes a text.
    pub is_text: bool,
}

impl Echo {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`Untranslatable`] for what is no request; one that was answered is.
    pub fn read(request: &[u8]) -> Result<Self, Untranslatable> {
        let request = text_of(request)?;
        let mut said = DEFAULTS;
        let (mut format, mut verbosity) = (r#"{"type":"text"}"#, r#""medium""#);
        let mut echo = Self { members: FIXED.to_owned(), tools: Vec::new(), takes_seals: false };
        members("body", request, |key, value| {
            match key {
                "text" => members("text", value, |key, value| {
                    match key {
                        "format" => format = value,
                        "verbosity" => verbosity = value,
                        _ => {}
                    }
                    Ok(())
                })?,
                "tools" => items("tools", value, |tool| echo.tool(tool))?,
                "include" => items("include", value, |word| {
                    echo.takes_seals |= word == r#""reasoning.encrypted_content""#;
                    Ok(())
                })?,
                _ => {}
            }
            if let Some(member) = said.iter_mut().find(|(name, _)| *name == key) {
                member.1 = value;
            }
            Ok(())
        })?;
        let mut out = Out::default();
        out.object();
        for (name, value) in said {
            out.key(name).raw(value);
        }
        out.key("text").object().key("format").raw(format).key("verbosity").raw(verbosity).end_object();
        echo.members.push(',');
        echo.members.push_str(&out.finish()[1..]);
        // Line ends may stand between members, but not in a line of data.
        if echo.members.contains(['\n', '\r']) {
            echo.members = echo.members.replace(['\n', '\r'], " ");
        }
        Ok(echo)
    }

    fn tool(&mut self, json: &str) -> Result<(), Untranslatable> {
        let (mut kind, mut name, mut inner) = (None, None, None);
        members("tools", json, |key, value| {
            match key {
                "type" => kind = string(value),
                "name" => name = Some(value),
                "tools" => inner = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        let is_text = kind.is_some_and(|kind| kind.raw == "custom");
        match inner {
            Some(inner) => {
                let namespace = given("tools.name", name)?.raw;
                items("tools.tools", inner, |tool| {
                    let (mut kind, mut name) = (None, None);
                    members("tools.tools", tool, |key, value| {
                        match key {
                            "type" => kind = string(value),
                            "name" => name = Some(value),
                            _ => {}
                        }
                        Ok(())
                    })?;
                    let is_text = kind.is_some_and(|kind| kind.raw == "custom");
                    self.name(Some(namespace), given("tools.name", name)?.raw, is_text);
                    Ok(())
                })?;
            }
            None if is_text => self.name(None, given("tools.name", name)?.raw, true),
            None => {}
        }
        Ok(())
    }

    fn name(&mut self, namespace: Option<&str>, name: &str, is_text: bool) {
        let flat = names::flat(namespace, name).into_owned();
        let namespace = namespace.map(str::to_owned);
        self.tools.push(Named { flat, name: name.to_owned(), namespace, is_text });
    }

    /// The tool that a model has called by this name.
    pub fn called(&self, name: &str) -> Named {
        let found = self.tools.iter().find(|tool| tool.flat == name).cloned();
        let as_it_is = || Named { flat: String::new(), name: name.to_owned(), namespace: None, is_text: false };
        found.unwrap_or_else(as_it_is)
    }

    /// Whether the client takes sealed thoughts.
    pub fn takes_seals(&self) -> bool {
        self.takes_seals
    }

    /// The members that repeat the request, with commas between.
    pub fn members(&self) -> &str {
        &self.members
    }
}
