//! A YAML document as the text that was written, with places.
//!
//! Serde hands an unquoted decimal over as a float, and stops at the first unknown key; prices and policies need the
//! text, and every finding at once. This keeps every scalar's text and position and gives it no type. Anchors, tags and
//! further documents are refused: these files need none. [`findings`] collects what is wrong with the nodes.

pub mod findings;

use std::borrow::Cow;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use crate::problem::Place;

/// Deepest nesting that is read; price rows need five levels.
const DEPTH_MAX: usize = 16;

/// A value and where it starts.
#[derive(Debug)]
pub struct Node<'a> {
    /// Where it starts.
    pub place: Place,
    /// What it is.
    pub value: Value<'a>,
}

/// What a node is.
#[derive(Debug)]
pub enum Value<'a> {
    /// Nothing: left empty, or an unquoted `~` or `null`.
    Empty,
    /// A scalar's text, without quotes.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Node<'a>>),
    /// Keys and values in file order; a key may occur twice.
    Map(Vec<(Key<'a>, Node<'a>)>),
}

impl Value<'_> {
    /// The word for what was found.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Empty => "nothing",
            Self::Text(_) => "a plain value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// A key of a map.
#[derive(Debug)]
pub struct Key<'a> {
    /// Where it starts.
    pub place: Place,
    /// Its text, without quotes.
    pub text: Cow<'a, str>,
}

/// Why a text is not a document that is read here, and where.
pub type Refusal = (Place, String);

/// Reads the only document of `text`; an empty text is [`Value::Empty`].
///
/// # Errors
///
/// The first place that is not YAML, or uses a part of YAML that is not read here.
pub fn read(text: &str) -> Result<Node<'_>, Refusal> {
    read_within(text, Place { line: 1, column: 1 })
}

/// The same for a text that stands inside another file and begins at `start` there.
///
/// # Errors
///
/// As [`read`].
pub fn read_within(text: &str, start: Place) -> Result<Node<'_>, Refusal> {
    let options = granit_parser::options! { emit_comments: false };
    let mut events = Events { parser: Parser::new_from_str_with_options(text, options), text, start };
    let mut document = None;
    loop {
        match events.next()? {
            (Event::StreamEnd, place) => return Ok(document.unwrap_or(Node { place, value: Value::Empty })),
            (Event::DocumentStart(..), place) if document.is_some() => {
                return Err((place, "a second document begins here; wanted a single one".to_owned()));
            }
            (Event::DocumentStart(..), _) => {
                let first = events.next()?;
                document = Some(events.node(first, 0)?);
            }
            _ => {}
        }
    }
}

struct Events<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    text: &'a str,
    start: Place,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Refusal> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, self.place(place_of(span.start)))),
            Some(Err(error)) => Err(self.refusal(&error)),
            None => Ok((Event::StreamEnd, self.start)),
        }
    }

    /// A place within the text as a place of the file that it stands in.
    fn place(&self, within: Place) -> Place {
        let Place { line, column } = self.start;
        let column = if within.line == 1 { within.column.saturating_add(column - 1) } else { within.column };
        Place { line: within.line.saturating_add(line - 1), column }
    }

    /// A tab in the indentation is the usual cause, and the scanner only complains near it.
    fn refusal(&self, error: &granit_parser::ScanError) -> Refusal {
        let place = place_of(*error.marker());
        let near = (1u32..).zip(self.text.lines()).skip_while(|(line, _)| *line < place.line).take(2);
        for (line, text) in near {
            let indent = text.len() - text.trim_start_matches([' ', '\t']).len();
            if let Some(tab) = text[..indent].find('\t') {
                let column = u32::try_from(tab + 1).unwrap_or(u32::MAX);
                return (self.place(Place { line, column }), "a tab indents this line; wanted spaces".to_owned());
            }
        }
        (self.place(place), format!("not YAML: {}", error.info()))
    }

    fn node(&mut self, (event, place): (Event<'a>, Place), depth: usize) -> Result<Node<'a>, Refusal> {
        if depth > DEPTH_MAX {
            return Err((place, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if event.tag().is_some() {
            return Err((place, "tags are not read here; wanted a plain value".to_owned()));
        }
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if matches!(&*text, "" | "~" | "null") => Value::Empty,
            Event::Scalar(text, ..) => Value::Text(text),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                return Err((place, "aliases are not read here; wanted the value itself".to_owned()));
            }
            _ => return Err((place, "not YAML: a value was wanted here".to_owned())),
        };
        Ok(Node { place, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, Refusal> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                first => items.push(self.node(first, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value<'a>, Refusal> {
        let mut entries = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(text, ..), place) => Key { place, text },
                (_, place) => return Err((place, "wanted a word as the key".to_owned())),
            };
            let first = self.next()?;
            entries.push((key, self.node(first, depth + 1)?));
        }
    }
}

fn place_of(marker: Marker) -> Place {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: narrow(marker.line()), column: narrow(marker.col().saturating_add(1)) }
}
