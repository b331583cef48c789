//! Changing the terms of a key that is there: a JSON merge patch of what it was made with.
//! <https://www.rfc-editor.org/rfc/rfc7396>

use serde_json::{Map, Value, json};

use super::{Asked, KeysError, StoredKey, Surroundings, Wanted, at, wanted};

/// What of a key stays as long as it does: rows of the ledger carry both.
const STAYS: [&str; 2] = ["name", "team"];

impl StoredKey {
    /// The key with what `patch` says of it: members that it has take the place of the key's own, `null` takes one away,
    /// and what it does not name stays.
    ///
    /// # Errors
    ///
    /// [`KeysError::Wrong`]: the patch changes nothing, or what does not change, or to what no key can have.
    pub fn patched(&self, patch: &Value, around: Surroundings<'_>) -> Result<Asked, KeysError> {
        let Some(members) = patch.as_object().filter(|members| !members.is_empty()) else {
            let wanted = "wanted some of `may`, `project`, `pipeline`, `mode`, `budget`, `limits` and `expires`";
            return Err(KeysError::Wrong(format!("nothing is to be changed; {wanted}")));
        };
        if let Some(name) = STAYS.into_iter().find(|name| members.contains_key(*name)) {
            return Err(KeysError::Wrong(format!("`{name}` of a key does not change; wanted a new key")));
        }
        let mut terms = self.terms();
        merge(&mut terms, patch);
        let wanted: Wanted = serde_json::from_value(terms).map_err(|error| KeysError::Wrong(error.to_string()))?;
        let wanted = Wanted { name: Some(self.asked.name.clone()), team: Some(self.asked.team.clone()), ..wanted };
        wanted.check(around)
    }

    /// What it was made with, in the words in which that is asked for.
    fn terms(&self) -> Value {
        let Asked { may, project, pipeline, mode, terms, expires_ms, .. } = &self.asked;
        let mut all = json!({
            "may": may, "project": project, "pipeline": pipeline, "mode": mode.map(wanted::word_of),
            "budget": terms.budget, "limits": terms.limits, "expires": expires_ms.map(at),
        });
        without_nulls(&mut all);
        all
    }
}

fn without_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, value| !value.is_null());
        members.values_mut().for_each(without_nulls);
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}
