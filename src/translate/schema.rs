//! What vendors take of JSON schemas that bind. A schema beyond that still says what is wanted, and does not bind, or binds by
//! a tool; nobody rewrites it.
//! <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>,
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>

use serde_json::{Map, Value};

/// Keywords that OpenAI refuses in a schema that binds.
const NOT_AT_OPENAI: &[&str] = &[
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "oneOf",
    "prefixItems",
    "contains",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// Keywords that Anthropic refuses.
const NOT_AT_ANTHROPIC: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "contains",
    "prefixItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
    "oneOf",
];

/// Whether a schema, as it is spelt, may bind at OpenAI: an object at its root, and in every object all members required and
/// no others.
pub(super) fn binds_at_openai(schema: &str) -> bool {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return false };
    is_object(&schema)
        && schema.get("anyOf").is_none()
        && all(&schema, &|schema| {
            let members = schema.get("properties").and_then(Value::as_object).map_or(0, Map::len);
            let required = schema.get("required").and_then(Value::as_array).map_or(0, Vec::len);
            lacks(schema, NOT_AT_OPENAI) && (!has_members(schema) || is_closed(schema) && members == required)
        })
}

/// Whether Anthropic's models take a schema, as it is spelt, for their answers: every object closed, and no bounds.
pub(super) fn binds_at_anthropic(schema: &str) -> bool {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return false };
    all(&schema, &|schema| {
        let is_few = schema.get("minItems").is_none_or(|least| matches!(least.as_u64(), Some(0 | 1)));
        let is_local =
            schema.get("$ref").is_none_or(|to| to.as_str().is_some_and(|to| to.starts_with('#') && to != "#"));
        is_few && is_local && lacks(schema, NOT_AT_ANTHROPIC) && (!has_members(schema) || is_closed(schema))
    })
}

/// Whether something holds of a schema and of all within it.
fn all(schema: &Value, holds: &dyn Fn(&Map<String, Value>) -> bool) -> bool {
    let Some(object) = schema.as_object() else {
        // `true` takes anything.
        return schema.is_null();
    };
    holds(object)
        && object.iter().all(|(key, value)| match (&**key, value) {
            ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                named.values().all(|inner| all(inner, holds))
            }
            ("anyOf" | "allOf", Value::Array(several)) => several.iter().all(|inner| all(inner, holds)),
            ("items", inner) => all(inner, holds),
            _ => true,
        })
}

fn is_object(schema: &Value) -> bool {
    schema["type"] == "object"
}

/// Whether objects are meant, by their type or by their members.
fn has_members(schema: &Map<String, Value>) -> bool {
    let is_object = schema.get("type").is_some_and(|kind| match kind {
        Value::String(kind) => kind == "object",
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    });
    is_object || schema.contains_key("properties")
}

fn is_closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

fn lacks(schema: &Map<String, Value>, words: &[&str]) -> bool {
    !words.iter().any(|word| schema.contains_key(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a schema binds at OpenAI and at Anthropic.
    #[track_caller]
    fn check(schema: &str, expected: (bool, bool)) {
        assert_eq!((binds_at_openai(schema), binds_at_anthropic(schema)), expected, "{schema}");
    }

    #[test]
    fn a_schema_binds_where_its_vendor_says_so() {
        let closed =
            r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;
        check(closed, (true, true));
        check(r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#, (false, true));
        check(r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}"#, (false, false));
        check(r#"{"type":"object"}"#, (false, false));
        check(&closed.replace(r#""string""#, r#""integer","minimum":1"#), (true, false));
        check(&closed.replace(r#""string""#, r#""string","minLength":1"#), (true, false));
        check(&closed.replace(r#"{"type":"string"}"#, r#"{"type":"array","items":{"type":"object"}}"#), (false, false));
        check(
            &closed.replace(r#"{"type":"string"}"#, r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#),
            (true, true),
        );
        check(&closed.replace(r#"{"type":"string"}"#, r##"{"$ref":"#/$defs/a"}"##), (true, true));
        check(&closed.replace(r#"{"type":"string"}"#, r##"{"$ref":"#"}"##), (true, false));
        check(r#"{"type":"array","items":{"type":"string"}}"#, (false, true));
        check("true", (false, false));
        check("{", (false, false));
    }

    #[test]
    fn a_member_that_is_called_as_a_keyword_is_none() {
        let named = r#"{"type":"object","properties":{"minimum":{"type":"string"}},"required":["minimum"],
            "additionalProperties":false}"#;
        check(named, (true, true));
    }
}
