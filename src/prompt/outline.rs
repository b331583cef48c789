//! Where the parts of a conversation stand in a body: what a classifier reads of it, and what tells it from others.
//!
//! Made in the one pass that makes the view, by ranges alone: nothing of the history is decoded or copied, and of its
//! messages only two numbers a tool result are kept. Decoding is `wire`'s work, for the few parts that somebody reads.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::assent::says_nothing;
use crate::limits::{CHAIN_LINKS, INSTRUCTIONS_MAX, TOOL_NAMES_MAX};

/// Who speaks in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Speaker {
    /// `system` or `developer`.
    Instructions,
    /// The one who asks.
    User,
    /// A tool that was called.
    Tool,
    /// The model, or nobody that we know.
    #[default]
    Other,
}

/// The parts of one request. Ranges are raw JSON values in the original body, quotes and brackets included.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outline {
    /// Contents of the first system and developer messages.
    pub instructions: Vec<Range<usize>>,
    /// Content of the last user turn; `None`: there is no such turn, or it has no content.
    pub last_user: Option<Range<usize>>,
    /// Contents of the user's messages right before it, with nobody else's between: they are one turn with it.
    pub last_user_began: Vec<Range<usize>>,
    /// Content of the user turn before it, unless that says nothing by itself: then of the one before that, and so on.
    pub previous_user: Option<Range<usize>>,
    /// How many user turns there are.
    pub user_turns: u32,
    /// Contents of the tool results after the last user turn, in their order.
    pub tool_results: Vec<Range<usize>>,
    /// Names of the tools that are offered.
    pub tools: Vec<Range<usize>>,
    /// Whether more tools are offered than these.
    pub more_tools: bool,
    /// Where the list of them stands; `None`: there is none.
    pub tools_at: Option<Range<usize>>,
    /// Whether the answer must be JSON.
    pub wants_json: bool,
    /// What identifies the conversation.
    pub chain: Chain,
    /// Whether the last user turn says nothing by itself, such as `ok`.
    pub last_says_nothing: bool,
    /// Whether nobody has spoken since the last user turn, so that it may still go on.
    pub is_users_turn: bool,
}

impl Outline {
    /// Takes note of the next message: its speaker, its whole text, its content, and where that stands.
    pub fn message(&mut self, speaker: Speaker, text: &str, said: &str, content: Option<Range<usize>>) {
        let (link, bytes) = (self.chain.last(), self.chain.bytes.1);
        self.chain.append(text.as_bytes());
        match speaker {
            Speaker::Instructions => {
                if self.instructions.len() < INSTRUCTIONS_MAX {
                    self.instructions.extend(content);
                }
            }
            Speaker::User => {
                if self.user_turns == 0 {
                    self.chain.anchor = self.chain.last();
                    self.chain.asked = xxh3_64_with_seed(text.as_bytes(), 0);
                    self.chain.opening = link;
                    self.chain.bytes.0 = bytes;
                }
                self.user_turns = self.user_turns.saturating_add(1);
                let before = std::mem::replace(&mut self.last_user, content);
                if std::mem::replace(&mut self.is_users_turn, true) {
                    self.last_user_began.extend(before.clone());
                } else {
                    self.last_user_began.clear();
                    self.chain.history = link;
                }
                if !std::mem::replace(&mut self.last_says_nothing, says_nothing(said)) {
                    self.previous_user = before;
                }
                self.tool_results.clear();
            }
            Speaker::Tool => {
                self.is_users_turn = false;
                self.tool_results.extend(content);
            }
            Speaker::Other => self.is_users_turn = false,
        }
    }

    /// Takes note of a tool that is offered.
    pub fn tool(&mut self, name: Range<usize>) {
        if self.tools.len() < TOOL_NAMES_MAX {
            self.tools.push(name);
        } else {
            self.more_tools = true;
        }
    }
}

/// A hash for the end of each message that covers everything before it as well: a request that extends another has the
/// other's last link among its own. Only the newest links are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chain {
    links: [u64; CHAIN_LINKS],
    length: usize,
    /// The link of the first user turn: the same for all requests of a conversation; 0 while there is none.
    pub anchor: u64,
    /// The link of what stands before the first user turn: what conversations of one agent share; 0 where nothing does.
    pub opening: u64,
    /// The link of what stands before the last user turn; 0 where nothing does.
    pub history: u64,
    /// A hash of the first user turn alone: the same also where what stands before it changes; 0 while there is none.
    pub asked: u64,
    /// Bytes of the messages up to there, and of all of them.
    pub bytes: (u64, u64),
    /// What a provider reads before the messages, wherever it stands in the body: tools and the format of the answer.
    pub head: Head,
}

/// Tools and format, hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// A hash of both; 0: there is neither.
    pub hash: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Head {
    /// Takes note of one of them: `place` tells them apart, in whichever order they come.
    pub fn with(&mut self, place: u64, text: &str) {
        self.hash ^= xxh3_64_with_seed(text.as_bytes(), place);
        self.bytes += text.len() as u64;
    }
}

impl Chain {
    fn append(&mut self, message: &[u8]) {
        let link = xxh3_64_with_seed(message, self.last());
        self.links[self.length % CHAIN_LINKS] = link;
        self.length += 1;
        self.bytes.1 += message.len() as u64;
    }

    /// The link of the last message; 0 while there is none.
    pub fn last(&self) -> u64 {
        self.length.checked_sub(1).map_or(0, |place| self.links[place % CHAIN_LINKS])
    }

    /// The links of earlier messages, newest first, as far as they are kept.
    pub fn earlier(&self) -> impl Iterator<Item = u64> {
        let oldest = self.length.saturating_sub(CHAIN_LINKS);
        (oldest..self.length.saturating_sub(1)).rev().map(|place| self.links[place % CHAIN_LINKS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(messages: &[&str]) -> Chain {
        let mut outline = Outline::default();
        messages.iter().for_each(|text| outline.message(Speaker::User, text, "", None));
        outline.chain
    }

    #[test]
    fn a_request_that_extends_another_has_its_last_link() {
        let (short, long) = (chain(&["a", "b"]), chain(&["a", "b", "c", "d"]));
        assert!(long.earlier().any(|link| link == short.last()));
        assert_eq!(long.anchor, short.anchor);
        assert!(!chain(&["x", "b", "c"]).earlier().any(|link| link == short.last()), "what came before counts");
        assert!(!short.earlier().any(|link| link == short.last()), "nothing extends itself");
    }

    #[test]
    fn a_long_history_keeps_its_newest_links() {
        let texts: Vec<String> = (0..500).map(|n| n.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (earlier, all) = (chain(&texts[..497]), chain(&texts));
        assert_eq!(all.earlier().count(), CHAIN_LINKS - 1);
        assert_eq!(all.earlier().position(|link| link == earlier.last()), Some(2));
        assert_eq!(Chain::default().earlier().count(), 0);
    }

    #[test]
    fn the_turn_before_is_the_last_that_says_something() {
        let mut outline = Outline::default();
        for (at, said) in ["\"drop table orders\"", "\"yes\"", "\"go on\"", "\"ok\""].into_iter().enumerate() {
            outline.message(Speaker::User, said, said, Some(at..at + 1));
        }
        assert_eq!((outline.last_user, outline.previous_user), (Some(3..4), Some(0..1)));
    }

    #[test]
    fn messages_of_the_user_in_a_row_are_one_turn() {
        let mut outline = Outline::default();
        let mut says = |speaker, at: usize| {
            outline.message(speaker, "x", "x", Some(at..at + 1));
            outline.last_user_began.iter().map(|at| at.start).collect::<Vec<_>>()
        };
        for (speaker, at, expected) in [
            (Speaker::User, 0, &[][..]),
            (Speaker::Other, 1, &[]),
            (Speaker::User, 2, &[]),
            (Speaker::Instructions, 3, &[]),
            (Speaker::User, 4, &[2]),
            (Speaker::User, 5, &[2, 4]),
            (Speaker::Tool, 6, &[2, 4]),
            (Speaker::User, 7, &[]),
        ] {
            assert_eq!(says(speaker, at), expected, "{at}");
        }
    }

    #[test]
    fn tool_results_belong_to_the_last_user_turn() {
        let mut outline = Outline::default();
        outline.message(Speaker::User, "u", "said", Some(0..1));
        outline.message(Speaker::Tool, "t", "said", Some(1..2));
        outline.message(Speaker::User, "v", "said", Some(2..3));
        outline.message(Speaker::Other, "a", "said", Some(3..4));
        outline.message(Speaker::Tool, "s", "said", Some(4..5));
        assert_eq!((outline.last_user, outline.previous_user, outline.user_turns), (Some(2..3), Some(0..1), 2));
        assert_eq!(outline.tool_results.iter().map(|at| at.start).collect::<Vec<_>>(), [4]);
    }
}
