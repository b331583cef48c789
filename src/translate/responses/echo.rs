//! What an answer of Responses repeats of its request, and what the request says of how to answer.
//!
//! <https://platform.openai.com/docs/api-reference/responses/object>

use super::super::read::{given, items, members, string};
use super::super::write::Out;
use super::super::{Untranslatable, text_of};
use super::names;

/// What is so where a request says nothing of it.
const DEFAULTS: [(&str, &str); 12] = [
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
    ("top_p", "null"),
];

/// What is so of every answer of another dialect, whatever was asked: nobody keeps it, at the standard price.
const FIXED: &str = r#""access_programs":null,"background":false,"previous_response_id":null,"service_tier":"default","top_logprobs":0,"truncation":"disabled""#;

/// What is repeated in another shape, or says what is.
const OTHERS: [&str; 4] = ["include", "text", "tools", "user"];

/// The member of a request by this name, if answers repeat it.
pub(super) fn repeated(name: &str) -> Option<&'static str> {
    DEFAULTS.iter().map(|(name, _)| *name).chain(OTHERS).find(|repeated| *repeated == name)
}

/// A request of these members, each as it is spelt.
pub fn asked(members: &[(&'static str, &str)]) -> String {
    let mut out = Out::with_capacity(members.iter().map(|(name, value)| name.len() + value.len() + 4).sum());
    out.object();
    for (name, value) in members {
        out.key(name).raw(value);
    }
    out.end_object();
    out.finish()
}

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
        let (mut tools, mut user) = (Vec::new(), None);
        let mut echo = Self { members: FIXED.to_owned(), tools: Vec::new(), takes_seals: false };
        members("body", request, |key, value| {
            match key {
                _ if value == "null" => return Ok(()),
                "text" => members("text", value, |key, value| {
                    match key {
                        "format" => format = value,
                        "verbosity" => verbosity = value,
                        _ => {}
                    }
                    Ok(())
                })?,
                "tools" => items("tools", value, |tool| {
                    tools.push(echo.tool(tool)?);
                    Ok(())
                })?,
                "user" => user = Some(value),
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
        if let Some(user) = user {
            out.key("user").raw(user);
        }
        out.key("tools").array();
        for (tool, lacks) in tools {
            match lacks.is_empty() {
                true => out.raw(tool),
                false => out.raw(&format!("{}{lacks}}}", tool[..tool.len() - 1].trim_end())),
            };
        }
        out.end_array();
        out.key("text").object().key("format").raw(format).key("verbosity").raw(verbosity).end_object();
        echo.members.push(',');
        echo.members.push_str(&out.finish()[1..]);
        // Line ends may stand between members, but not in a line of data.
        if echo.members.contains(['\n', '\r']) {
            echo.members = echo.members.replace(['\n', '\r'], " ");
        }
        Ok(echo)
    }

    /// Takes note of a tool; gives it with the members that every answer has of it and a request may leave out.
    fn tool<'r>(&mut self, json: &'r str) -> Result<(&'r str, &'static str), Untranslatable> {
        let (mut kind, mut name, mut inner) = (None, None, None);
        let (mut has_parameters, mut has_strict) = (false, false);
        members("tools", json, |key, value| {
            match key {
                "type" => kind = string(value),
                "name" => name = Some(value),
                "tools" => inner = Some(value),
                "parameters" => has_parameters = true,
                "strict" => has_strict = true,
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
        let is_function = kind.is_some_and(|kind| kind.raw == "function");
        let lacks = match (is_function && !has_parameters, is_function && !has_strict) {
            (false, false) => "",
            (true, false) => r#","parameters":null"#,
            (false, true) => r#","strict":null"#,
            (true, true) => r#","parameters":null,"strict":null"#,
        };
        Ok((json, lacks))
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
