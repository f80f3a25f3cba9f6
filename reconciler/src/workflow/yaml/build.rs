//! Events of the parser to nodes, without recursion and within bounds.

use std::borrow::Cow;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag, options};

use super::{ANCHORED, DEPTH, Kind, NODES, Node, READ, YamlError};

const COMMON: &str = "tag:yaml.org,2002:";

/// A finished node and what it weighs.
struct Done {
    node: Node,
    size: Size,
}

/// What a node weighs.
#[derive(Clone, Copy)]
struct Size {
    /// Nodes, aliases followed.
    nodes: u64,
    /// Levels, aliases followed.
    height: usize,
    /// Bytes in memory, aliases not followed.
    bytes: usize,
}

impl Size {
    const ONE: Size = Size { nodes: 1, height: 1, bytes: size_of::<Node>() };

    fn take_in(&mut self, child: Size) {
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.height = self.height.max(child.height.saturating_add(1));
        self.bytes = self.bytes.saturating_add(child.bytes);
    }
}

enum Open {
    Sequence(Vec<Node>),
    /// The pairs, and a key that waits for its value.
    Mapping(Vec<(Node, Node)>, Option<Node>),
}

struct Frame {
    open: Open,
    line: usize,
    anchor: usize,
    size: Size,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    /// By the parser's number of the anchor; `None` while the node is open.
    anchors: Vec<Option<(Arc<Node>, Size)>>,
    anchored: usize,
    root: Option<Node>,
}

pub(super) fn document(bytes: &[u8]) -> Result<Node, YamlError> {
    let bytes = &bytes[..bytes.len().min(READ)];
    let text = text(bytes)?;
    check_characters(&text)?;
    let mut options = options! {
        bom_inside_document_as_content: true,
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    options.set_emit_comments(false);
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(&text, options) {
        let (event, span) = event.map_err(|error| scan_error(&error))?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.take(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or_else(null))
}

fn null() -> Node {
    Node { kind: Kind::Scalar { text: String::new(), plain: true, tag: None }, line: 1 }
}

/// The text of a file: UTF-8, or UTF-16 where a byte-order mark says so.
fn text(bytes: &[u8]) -> Result<Cow<'_, str>, YamlError> {
    let wide = |bytes: &[u8], from: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let text = char::decode_utf16(pairs.iter().map(|pair| from(*pair)));
        rest.is_empty()
            .then(|| text.collect::<Result<String, _>>().ok())
            .flatten()
            .map(Cow::Owned)
            .ok_or_else(|| YamlError::new(0, "the file is not UTF-16"))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, YamlError> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        YamlError::new(lines(before), "the file is not UTF-8")
    })
}

/// The line that follows `before`, from 1.
fn lines(before: &[u8]) -> usize {
    before.iter().fold(1, |lines, byte| lines + usize::from(*byte == b'\n'))
}

/// Refuses the characters that the forge's reader refuses anywhere, in comments too.
fn check_characters(text: &str) -> Result<(), YamlError> {
    let fine = |c: char| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}')
            || c >= '\u{10000}'
    };
    let plain = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    // Nearly every file is plain ASCII, or nearly so.
    if text.bytes().all(plain) {
        return Ok(());
    }
    match text.char_indices().find(|(_, c)| !fine(*c)) {
        None => Ok(()),
        Some((at, _)) => Err(YamlError::new(
            lines(&text.as_bytes()[..at]),
            "control characters are not allowed",
        )),
    }
}

fn scan_error(error: &ScanError) -> YamlError {
    YamlError::new(error.marker().line(), error.info())
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let mut size = Size::ONE;
                size.bytes += text.len();
                let plain = style == ScalarStyle::Plain;
                let kind = Kind::Scalar { text: text.into_owned(), plain, tag: short(tag) };
                self.close(Done { node: Node { kind, line }, size }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.open(Open::Sequence(vec![]), line, anchor),
            Event::MappingStart(_, anchor, _) => {
                self.open(Open::Mapping(vec![], None), line, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Frame { open, line, anchor, size }) = self.stack.pop() else {
                    return Err(YamlError::new(line, "a collection ends that did not begin"));
                };
                let kind = match open {
                    Open::Sequence(items) => Kind::Sequence(items),
                    Open::Mapping(entries, _) => Kind::Mapping(entries),
                };
                self.close(Done { node: Node { kind, line }, size }, anchor)
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(anchor).and_then(Option::as_ref);
                let size = target.map_or(Size::ONE, |(_, size)| Size {
                    bytes: Size::ONE.bytes,
                    height: size.height + 1,
                    ..*size
                });
                let target = target.map(|(node, _)| Arc::clone(node));
                self.close(Done { node: Node { kind: Kind::Alias(target), line }, size }, 0)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, open: Open, line: usize, anchor: usize) -> Result<(), YamlError> {
        if self.stack.len() >= DEPTH {
            return Err(YamlError::new(line, format!("nested more than {DEPTH} deep")));
        }
        if anchor > 0 {
            // A name that is given anew gets a number of its own.
            self.anchor(anchor, None);
        }
        self.stack.push(Frame { open, line, anchor, size: Size::ONE });
        Ok(())
    }

    fn close(&mut self, done: Done, anchor: usize) -> Result<(), YamlError> {
        let Done { node, size } = done;
        if anchor > 0 {
            self.anchored = self.anchored.saturating_add(size.bytes);
            if self.anchored > ANCHORED {
                return Err(YamlError::new(node.line, "too much is anchored"));
            }
            self.anchor(anchor, Some((Arc::new(node.clone()), size)));
        }
        let line = node.line;
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.size.take_in(size);
        if frame.size.nodes > NODES {
            return Err(YamlError::new(line, "the document contains excessive aliasing"));
        }
        if frame.size.height > DEPTH {
            return Err(YamlError::new(line, format!("nested more than {DEPTH} deep")));
        }
        match &mut frame.open {
            Open::Sequence(items) => items.push(node),
            Open::Mapping(entries, key) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push((key, node)),
            },
        }
        Ok(())
    }

    fn anchor(&mut self, number: usize, node: Option<(Arc<Node>, Size)>) {
        if self.anchors.len() <= number {
            self.anchors.resize_with(number + 1, || None);
        }
        self.anchors[number] = node;
    }
}

/// A tag as one writes it.
fn short(tag: Option<Cow<'_, Tag>>) -> Option<String> {
    let tag = tag?;
    let full = format!("{}{}", tag.handle(), tag.suffix());
    match full.strip_prefix(COMMON) {
        _ if full == "!" => None,
        Some(name) => Some(format!("!!{name}")),
        None => Some(full),
    }
}
