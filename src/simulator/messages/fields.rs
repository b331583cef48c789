//! Reads JSON as strictly as Anthropic's API does, and refuses in its words.
//!
//! An [`Object`] knows its path, so that every refusal names the field: `tools.0.custom.name: Field required`.

use serde_json::{Map, Value};

/// What was read, or the message of a 400.
pub(super) type Read<T> = Result<T, String>;

/// A JSON object and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    pub(super) path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(super) fn of(path: impl Into<String>, value: &'a Value) -> Read<Self> {
        let path = path.into();
        match value.as_object() {
            Some(map) => Ok(Self { path, map }),
            None => Err(wrong(&path, "Input should be a valid dictionary")),
        }
    }

    /// The same object under another path: a union's member is named by its tag.
    pub(super) fn tagged(&self, tag: &str) -> Self {
        Self { path: format!("{}.{tag}", self.path), map: self.map }
    }

    /// The path of a field.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Refuses any field that `known` does not name.
    pub(super) fn only(&self, known: &[&str]) -> Read<()> {
        match self.map.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.extra(key)),
            None => Ok(()),
        }
    }

    /// The refusal of a field that must not be there.
    pub(super) fn extra(&self, key: &str) -> String {
        wrong(&self.at(key), "Extra inputs are not permitted")
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// A field that is there and not null.
    pub(super) fn find(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn need(&self, key: &str) -> Read<&'a Value> {
        self.map.get(key).ok_or_else(|| wrong(&self.at(key), "Field required"))
    }

    pub(super) fn text(&self, key: &str) -> Read<Option<&'a str>> {
        self.find(key).map(|value| text(&self.at(key), value)).transpose()
    }

    pub(super) fn need_text(&self, key: &str) -> Read<&'a str> {
        text(&self.at(key), self.need(key)?)
    }

    pub(super) fn integer(&self, key: &str) -> Read<Option<i64>> {
        let read =
            |value: &Value| value.as_i64().ok_or_else(|| wrong(&self.at(key), "Input should be a valid integer"));
        self.find(key).map(read).transpose()
    }

    pub(super) fn number(&self, key: &str) -> Read<Option<f64>> {
        let read = |value: &Value| value.as_f64().ok_or_else(|| wrong(&self.at(key), "Input should be a valid number"));
        self.find(key).map(read).transpose()
    }

    pub(super) fn boolean(&self, key: &str) -> Read<Option<bool>> {
        let read =
            |value: &Value| value.as_bool().ok_or_else(|| wrong(&self.at(key), "Input should be a valid boolean"));
        self.find(key).map(read).transpose()
    }

    pub(super) fn list(&self, key: &str) -> Read<&'a [Value]> {
        match self.find(key) {
            None => Ok(&[]),
            Some(value) => list(&self.at(key), value),
        }
    }

    pub(super) fn object(&self, key: &str) -> Read<Option<Object<'a>>> {
        self.find(key).map(|value| Object::of(self.at(key), value)).transpose()
    }

    /// One of a few words, if the field is there.
    pub(super) fn word(&self, key: &str, known: &[&str]) -> Read<Option<&'a str>> {
        let Some(word) = self.text(key)? else { return Ok(None) };
        match known.contains(&word) {
            true => Ok(Some(word)),
            false => Err(wrong(&self.at(key), &format!("Input should be {}", one_of(known)))),
        }
    }

    /// The tag of a union, which must be one of `known`.
    pub(super) fn tag(&self, known: &[&str]) -> Read<&'a str> {
        let Some(tag) = self.find("type") else {
            return Err(wrong(&self.path, "Unable to extract tag using discriminator 'type'"));
        };
        let tag = text(&self.at("type"), tag)?;
        if known.contains(&tag) {
            return Ok(tag);
        }
        let tags: Vec<_> = known.iter().map(|tag| format!("'{tag}'")).collect();
        let found = format!(
            "Input tag '{tag}' found using 'type' does not match any of the expected tags: {}",
            tags.join(", ")
        );
        Err(wrong(&self.path, &found))
    }
}

pub(super) fn wrong(path: &str, found: &str) -> String {
    if path.is_empty() { found.to_owned() } else { format!("{path}: {found}") }
}

pub(super) fn text<'a>(path: &str, value: &'a Value) -> Read<&'a str> {
    value.as_str().ok_or_else(|| wrong(path, "Input should be a valid string"))
}

pub(super) fn list<'a>(path: &str, value: &'a Value) -> Read<&'a [Value]> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(path, "Input should be a valid list"))
}

fn one_of(known: &[&str]) -> String {
    let quoted: Vec<_> = known.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
