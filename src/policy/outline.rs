//! The outline of a Markdown text: headings, paragraphs and bullets in order, as plain text with places.
//!
//! What the marks of Markdown mean is pulldown-cmark's business; what headings and bullets mean is `parse`'s. Emphasis,
//! links and code become their text; quotations, code blocks and HTML are prose that nobody asks for.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::problem::Place;

/// Bullets that are nested deeper are left out: those above them are refused as it is.
const DEPTH_MAX: usize = 4;

/// A part of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Block {
    /// `## Text`.
    Heading { level: usize, text: String, at: Place },
    /// Prose; `raw` is as it stands in the file.
    Paragraph { text: String, raw: Range<usize>, at: Place },
    /// A list, with bullets or with numbers.
    List(Vec<Bullet>),
    /// What looks like a list and is code to Markdown, since it is indented so far.
    IndentedList { at: Place },
    /// What nobody reads, as it stands in the file.
    Unread { what: Unread, raw: Range<usize> },
}

/// What is in a file and is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unread {
    /// A block of code; `ends` unless it goes on to the end of the file for want of a fence.
    Code { ends: bool },
    /// A comment in HTML; `ends` likewise.
    Comment { ends: bool },
    /// Other HTML.
    Html,
    /// A quotation.
    Quotation,
}

/// One entry of a list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Bullet {
    /// Its text in one line, braces at the end included.
    pub text: String,
    /// Braces at its end: where they begin in `text`, and in the file with their content.
    pub braces: Option<Braces>,
    /// The bullets under it.
    pub nested: Vec<Bullet>,
    /// Where its text begins.
    pub at: Option<Place>,
}

/// `{…}` at the end of a bullet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Braces {
    /// Where they begin in the bullet's text.
    pub from: usize,
    /// As they stand in the file, braces included.
    pub raw: String,
    /// Where they stand.
    pub at: Place,
}

/// Turns offsets into places.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    first: u32,
}

impl<'a> Lines<'a> {
    /// The lines of a text whose first one has this number.
    pub(super) fn new(text: &'a str, first: u32) -> Self {
        let ends = text
            .bytes()
            .enumerate()
            .filter(|(at, byte)| *byte == b'\n' || (*byte == b'\r' && text.as_bytes().get(at + 1) != Some(&b'\n')));
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts, first }
    }

    /// Where a byte stands.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let before = self.text.get(self.starts[line]..offset).unwrap_or_default();
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place { line: self.first.saturating_add(narrow(line)), column: narrow(before.chars().count() + 1) }
    }
}

/// Reads the outline of `text`.
pub(super) fn read(text: &str, lines: &Lines<'_>) -> Vec<Block> {
    let mut events = Parser::new_ext(text, Options::empty()).into_offset_iter();
    let mut blocks = Vec::new();
    while let Some((event, range)) = events.next() {
        let at = lines.place(range.start);
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let text = Pieces::until(&mut events, is_heading_end).text();
                blocks.push(Block::Heading { level: number(level), text, at });
            }
            Event::Start(Tag::Paragraph) => {
                let text = Pieces::until(&mut events, |end| *end == TagEnd::Paragraph).text();
                blocks.push(Block::Paragraph { text, raw: range, at });
            }
            Event::Start(Tag::List(_)) => blocks.push(Block::List(list(&mut events, text, lines))),
            Event::Start(Tag::CodeBlock(kind)) => {
                let code = Pieces::until(&mut events, |end| *end == TagEnd::CodeBlock).text();
                if kind == CodeBlockKind::Indented && is_bullet(&code) {
                    blocks.push(Block::IndentedList { at });
                } else {
                    let ends = kind == CodeBlockKind::Indented || is_closed(&text[range.clone()]);
                    blocks.push(Block::Unread { what: Unread::Code { ends }, raw: range });
                }
            }
            Event::Start(tag) => {
                let end = tag.to_end();
                skip(&mut events, end);
                let what = match tag {
                    Tag::BlockQuote(_) => Unread::Quotation,
                    _ => html(&text[range.clone()]),
                };
                blocks.push(Block::Unread { what, raw: range });
            }
            _ => {}
        }
    }
    blocks
}

/// Whether a fenced block of code has its second fence.
fn is_closed(code: &str) -> bool {
    let mut lines = code.trim_end().lines().map(str::trim);
    let (first, last) = (lines.next().unwrap_or_default(), lines.next_back().unwrap_or_default());
    let mark = first.chars().next().unwrap_or('`');
    let length = first.chars().take_while(|c| *c == mark).count();
    last.chars().all(|c| c == mark) && last.chars().count() >= length
}

fn html(html: &str) -> Unread {
    if html.trim_start().starts_with("<!--") {
        return Unread::Comment { ends: html.contains("-->") };
    }
    Unread::Html
}

/// Whether a line begins as a bullet does.
fn is_bullet(line: &str) -> bool {
    line.trim_start().strip_prefix(['-', '*', '+']).is_some_and(|rest| rest.starts_with([' ', '\t']))
}

fn is_heading_end(end: &TagEnd) -> bool {
    matches!(end, TagEnd::Heading(_))
}

fn number(level: HeadingLevel) -> usize {
    level as usize
}

/// Leaves out everything to the end of an element; elements of its kind may be inside.
fn skip<'t>(events: &mut impl Iterator<Item = (Event<'t>, Range<usize>)>, end: TagEnd) {
    let mut open = 1;
    for (event, _) in events {
        match event {
            Event::Start(tag) if tag.to_end() == end => open += 1,
            Event::End(closed) if closed == end => open -= 1,
            _ => {}
        }
        if open == 0 {
            return;
        }
    }
}

/// The bullets of the list that has just begun. Lists may be nested as deep as the text is long, so that this keeps a
/// stack of its own.
fn list<'t>(
    events: &mut impl Iterator<Item = (Event<'t>, Range<usize>)>,
    source: &str,
    lines: &Lines<'_>,
) -> Vec<Bullet> {
    let mut lists: Vec<Vec<Bullet>> = vec![Vec::new()];
    let mut open: Vec<(Bullet, Pieces)> = Vec::new();
    while let Some((event, range)) = events.next() {
        match event {
            Event::Start(Tag::List(_)) => lists.push(Vec::new()),
            Event::Start(Tag::Item) => open.push((Bullet::default(), Pieces::default())),
            Event::End(TagEnd::Item) => {
                let Some((mut bullet, pieces)) = open.pop() else { continue };
                bullet.at = Some(lines.place(pieces.0.first().map_or(range.start, |piece| piece.at.start)));
                (bullet.text, bullet.braces) = pieces.text_and_braces(source, lines);
                if let Some(list) = lists.last_mut() {
                    list.push(bullet);
                }
            }
            Event::End(TagEnd::List(_)) => {
                let Some(done) = lists.pop() else { break };
                let depth = open.len();
                match open.last_mut() {
                    Some((bullet, _)) if depth <= DEPTH_MAX => bullet.nested.extend(done),
                    Some(_) => {}
                    None => return done,
                }
            }
            Event::Start(Tag::BlockQuote(kind)) => skip(events, TagEnd::BlockQuote(kind)),
            event => {
                if let Some((_, pieces)) = open.last_mut() {
                    pieces.take(event, range);
                }
            }
        }
    }
    Vec::new()
}

/// Pieces of plain text and the places that they come from.
#[derive(Default)]
struct Pieces(Vec<Piece>);

struct Piece {
    text: String,
    at: Range<usize>,
    /// Whether it is plain text, not code or a break.
    is_prose: bool,
}

impl Pieces {
    fn until<'t>(
        events: &mut impl Iterator<Item = (Event<'t>, Range<usize>)>,
        is_end: impl Fn(&TagEnd) -> bool,
    ) -> Self {
        let mut pieces = Self::default();
        for (event, range) in events {
            match event {
                Event::End(end) if is_end(&end) => break,
                event => pieces.take(event, range),
            }
        }
        pieces
    }

    fn take(&mut self, event: Event<'_>, at: Range<usize>) {
        let (text, is_prose) = match event {
            Event::Text(text) => (text.into_string(), true),
            Event::Code(text) => (text.into_string(), false),
            Event::InlineHtml(tag) if !tag.starts_with("<!--") => (tag.into_string(), false),
            Event::SoftBreak | Event::HardBreak | Event::Start(Tag::Paragraph | Tag::CodeBlock(_)) => {
                (" ".to_owned(), false)
            }
            _ => return,
        };
        // A break in front of everything is none.
        if !(self.0.is_empty() && text == " ") {
            self.0.push(Piece { text, at, is_prose });
        }
    }

    fn text(&self) -> String {
        one_line(&self.0.iter().map(|piece| piece.text.as_str()).collect::<String>())
    }

    fn text_and_braces(&self, source: &str, lines: &Lines<'_>) -> (String, Option<Braces>) {
        let whole = self.text();
        let Some((last, from)) = self.braces_at(source) else { return (whole, None) };
        let before: String =
            self.0.iter().filter(|piece| piece.at.start < from).map(|piece| cut(piece, from)).collect();
        let before = one_line(&before);
        let raw = source[from..last].to_owned();
        let text = if before.is_empty() { one_line(&raw) } else { format!("{before} {}", one_line(&raw)) };
        let from_in_text = if before.is_empty() { 0 } else { before.len() + 1 };
        (text, Some(Braces { from: from_in_text, raw, at: lines.place(from) }))
    }

    /// Where braces at the end of the text end and begin in the source.
    fn braces_at(&self, source: &str) -> Option<(usize, usize)> {
        let last = self.0.iter().rev().find(|piece| !piece.text.trim().is_empty())?;
        let first = self.0.first()?.at.start;
        let text = source.get(first..last.at.end)?.trim_end();
        if !last.is_prose || !text.ends_with('}') || text.ends_with("\\}") {
            return None;
        }
        let mut depth = 0_usize;
        for (at, c) in text.char_indices().rev() {
            match c {
                '}' => depth += 1,
                '{' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some((first + text.len(), first + at));
            }
        }
        None
    }
}

/// The part of a piece in front of a place in the source.
fn cut(piece: &Piece, from: usize) -> &str {
    // Only text as it stands in the source can be cut there; all else is a whole mark such as `&amp;`.
    let is_as_written = piece.at.len() == piece.text.len();
    let end = if piece.at.end > from && is_as_written { from - piece.at.start } else { piece.text.len() };
    piece.text.get(..end).unwrap_or(&piece.text)
}

/// Single spaces, none around.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
