//! What of the providers' own paths is passed on as it comes, and what each of them needs and leaves behind. Whatever is not
//! in this table is not served: organisations, assistants, vector stores, sockets.

use http::Method;

/// A kind of object that a provider keeps for whoever made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A conversation that responses go on from.
    Conversation,
    /// A file.
    File,
    /// A batch of requests.
    Batch,
}

impl Kind {
    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::File => "file",
            Self::Batch => "batch",
        }
    }
}

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Does {
    /// Reads or changes an object that is there, for nothing.
    Asks,
    /// Reads what an object has in it.
    Fetches,
    /// Deletes it.
    Deletes,
    /// Makes one, for nothing.
    Makes(Kind),
    /// Makes one that is charged for later.
    Orders(Kind),
    /// Makes something that is charged for and that is no object.
    Produces,
    /// Something of that kind that its provider does not charge for.
    Judges,
    /// Shows everything of a kind, whoever made it: refused.
    Lists,
}

/// How the body of a call is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sends {
    /// JSON, or nothing: whole, within `body_bytes`.
    Json,
    /// Anything: passed on as it arrives, within `upload_bytes`.
    Upload,
}

/// What may be done at a path.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    method: &'static str,
    /// What it does.
    pub does: Does,
    /// What comes with it.
    pub sends: Sends,
}

impl PartialEq for Allowed {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Allowed {}

/// A path below the version, parted at each `/`; `*` stands for the id of an object, of which the first must be the team's.
#[derive(Debug)]
pub struct Allowed {
    path: &'static str,
    /// The methods that are served there.
    pub methods: &'static str,
    acts: &'static [Act],
}

impl Allowed {
    /// What a method does there.
    pub fn act(&self, method: &Method) -> Option<Act> {
        self.acts.iter().copied().find(|act| act.method == method.as_str())
    }
}

const fn act(method: &'static str, does: Does, sends: Sends) -> Act {
    Act { method, does, sends }
}

const READ: Act = act("GET", Does::Asks, Sends::Json);
const CHANGE: Act = act("POST", Does::Asks, Sends::Json);
const DELETE: Act = act("DELETE", Does::Deletes, Sends::Json);
const REMOVE: Act = act("DELETE", Does::Asks, Sends::Json);
const LIST: Act = act("GET", Does::Lists, Sends::Json);
const PRODUCE: Act = act("POST", Does::Produces, Sends::Json);
const PRODUCE_OF_FILES: Act = act("POST", Does::Produces, Sends::Upload);

const fn at(path: &'static str, methods: &'static str, acts: &'static [Act]) -> Allowed {
    Allowed { path, methods, acts }
}

static ALLOWED: [Allowed; 20] = [
    at("responses/*", "GET, HEAD, DELETE", &[READ, DELETE]),
    at("responses/*/cancel", "POST", &[CHANGE]),
    at("responses/*/input_items", "GET, HEAD", &[READ]),
    at("conversations", "POST", &[act("POST", Does::Makes(Kind::Conversation), Sends::Json)]),
    at("conversations/*", "GET, HEAD, POST, DELETE", &[READ, CHANGE, DELETE]),
    at("conversations/*/items", "GET, HEAD, POST", &[READ, CHANGE]),
    at("conversations/*/items/*", "GET, HEAD, DELETE", &[READ, REMOVE]),
    at("files", "GET, HEAD, POST", &[LIST, act("POST", Does::Makes(Kind::File), Sends::Upload)]),
    at("files/*", "GET, HEAD, DELETE", &[READ, DELETE]),
    at("files/*/content", "GET, HEAD", &[act("GET", Does::Fetches, Sends::Json)]),
    at("batches", "GET, HEAD, POST", &[LIST, act("POST", Does::Orders(Kind::Batch), Sends::Json)]),
    at("batches/*", "GET, HEAD", &[READ]),
    at("batches/*/cancel", "POST", &[CHANGE]),
    at("audio/speech", "POST", &[PRODUCE]),
    at("audio/transcriptions", "POST", &[PRODUCE_OF_FILES]),
    at("audio/translations", "POST", &[PRODUCE_OF_FILES]),
    at("images/generations", "POST", &[PRODUCE]),
    at("images/edits", "POST", &[PRODUCE_OF_FILES]),
    at("images/variations", "POST", &[PRODUCE_OF_FILES]),
    at("moderations", "POST", &[act("POST", Does::Judges, Sends::Json)]),
];

/// What is passed on at a path below the version, and the id of the object in it, if one is named.
pub fn allowed(path: &str) -> Option<(&'static Allowed, Option<&str>)> {
    let parts = || path.trim_start_matches('/').split('/');
    let fits = |allowed: &&Allowed| {
        let mut wanted = allowed.path.split('/');
        parts().all(|part| wanted.next().is_some_and(|wanted| wanted == part || wanted == "*" && is_id(part)))
            && wanted.next().is_none()
    };
    let allowed = ALLOWED.iter().find(fits)?;
    let id = allowed.path.split('/').zip(parts()).find(|(wanted, _)| *wanted == "*").map(|(_, id)| id);
    Some((allowed, id))
}

/// Ids are letters, digits and what parts words: nothing in them is a path, or means another character.
fn is_id(part: &str) -> bool {
    !part.is_empty()
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !part.bytes().all(|byte| byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, path: &str, expected: Option<Does>, id: Option<&str>) {
        let found = allowed(path);
        assert_eq!(found.and_then(|(allowed, _)| allowed.act(&method)).map(|act| act.does), expected, "{path}");
        assert_eq!(found.and_then(|(_, id)| id), id, "{path}");
    }

    #[test]
    fn a_path_says_what_is_done_and_to_what() {
        check(Method::GET, "/responses/resp_1", Some(Does::Asks), Some("resp_1"));
        check(Method::DELETE, "/responses/resp_1", Some(Does::Deletes), Some("resp_1"));
        check(Method::DELETE, "/conversations/conv_1/items/msg_1", Some(Does::Asks), Some("conv_1"));
        check(Method::POST, "/files", Some(Does::Makes(Kind::File)), None);
        check(Method::GET, "/files/file-1/content", Some(Does::Fetches), Some("file-1"));
        check(Method::POST, "/batches", Some(Does::Orders(Kind::Batch)), None);
        check(Method::GET, "/files", Some(Does::Lists), None);
        for path in
            ["/organization/users", "/files/", "/files//content", "/files/..", "/files/a%2fb", "/files/a/b/c", ""]
        {
            check(Method::GET, path, None, None);
        }
    }

    #[test]
    fn the_methods_that_are_told_are_those_that_are_served() {
        for allowed in &ALLOWED {
            let told: Vec<&str> = allowed.methods.split(", ").filter(|method| *method != "HEAD").collect();
            assert_eq!(told, allowed.acts.iter().map(|act| act.method).collect::<Vec<_>>(), "{}", allowed.path);
            assert_eq!(allowed.methods.contains("HEAD"), told.contains(&"GET"), "{}", allowed.path);
        }
    }
}
