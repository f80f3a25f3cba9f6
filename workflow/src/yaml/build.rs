//! Builds nodes from the parser's events, without recursion and within limits.

use std::borrow::Cow;
use std::sync::Arc;

use granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag, options,
};

use super::tabs::{Role, Tabs};
use super::{ANCHORED, DEPTH, Kind, NODES, Node, READ, YamlError};

const COMMON: &str = "tag:yaml.org,2002:";

/// A finished node and its size.
struct Done {
    node: Node,
    size: Size,
}

/// The size of a node.
#[derive(Clone, Copy)]
struct Size {
    /// Nodes, through aliases.
    nodes: u64,
    /// Levels, through aliases.
    height: usize,
    /// Bytes in memory, without aliases' targets.
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
    /// The column of a block collection; a flow collection has none.
    column: Option<usize>,
    /// The byte where it begins.
    start: usize,
    anchor: usize,
    size: Size,
}

#[derive(Default)]
struct Builder<'t> {
    text: &'t str,
    tabs: Option<Tabs<'t>>,
    stack: Vec<Frame>,
    /// By the parser's number of the anchor, which differs if a name is reused; `None` or missing
    /// while the node is open.
    anchors: Vec<Option<(Arc<Node>, Size)>>,
    anchored: usize,
    root: Option<Node>,
}

pub(super) fn document(bytes: &[u8]) -> Result<Node, YamlError> {
    let bytes = &bytes[..bytes.len().min(READ)];
    let text = text(bytes)?;
    check_characters(&text)?;
    let text = with_line_feeds(text);
    match build(&text, Tabs::of(&text)) {
        Ok(root) => Ok(root),
        // Within `{}` and `[]` the forge accepts tabs that this parser rejects.
        Err(Failure { error, tab: true }) => match Tabs::of(&text) {
            Some(tabs) => build(&tabs.replaced(), Some(tabs)).map_err(|_| error),
            None => Err(error),
        },
        Err(Failure { error, .. }) => Err(error),
    }
}

/// The error, and whether it is a tab taken for indentation.
struct Failure {
    error: YamlError,
    tab: bool,
}

impl From<YamlError> for Failure {
    fn from(error: YamlError) -> Self {
        Self { error, tab: false }
    }
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Self {
        let tab = *error.kind() == ErrorKind::TabInBlockIndentation;
        Self { error: YamlError::new(error.marker().line(), error.info()), tab }
    }
}

fn build(text: &str, tabs: Option<Tabs<'_>>) -> Result<Node, Failure> {
    let mut options = options! {
        bom_inside_document_as_content: true,
        block_scalar_eof_without_line_feed: true,
        emit_anchor_events: true,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    options.set_emit_comments(false);
    let mut builder = Builder { text, tabs, ..Builder::default() };
    let mut end = text.len();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event?;
        if matches!(event, Event::DocumentEnd) {
            end = span.byte_range().map_or(end, |bytes| bytes.start);
            break;
        }
        builder.take(event, &span)?;
    }
    if let Some(line) = builder.tabs.and_then(|tabs| tabs.refused(end)) {
        return Err(YamlError::new(line, "a tab is not allowed here").into());
    }
    Ok(builder.root.unwrap_or_else(null))
}

fn null() -> Node {
    Node { kind: Kind::Scalar { text: String::new(), plain: true, tag: None }, line: 1 }
}

/// Decodes a file: UTF-8, or UTF-16 if a byte-order mark says so. The parser skips a UTF-8 mark
/// itself.
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
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, YamlError> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        YamlError::new(lines(before), "the file is not UTF-8")
    })
}

/// The number of the line after `before`, from 1.
fn lines(before: &[u8]) -> usize {
    before.iter().fold(1, |lines, byte| lines + usize::from(*byte == b'\n'))
}

/// Rejects the characters that the forge's reader rejects anywhere, even in comments.
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
        Some((at, _)) => {
            Err(YamlError::new(lines(&text.as_bytes()[..at]), "control characters are not allowed"))
        }
    }
}

/// Three more characters end a line for the forge's reader; this parser takes them for text.
fn with_line_feeds(text: Cow<'_, str>) -> Cow<'_, str> {
    const MORE: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
    if !text.contains(MORE) {
        return text;
    }
    Cow::Owned(text.replace(MORE, "\n"))
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), YamlError> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_, Some(version)) if (version.major, version.minor) != (1, 1) => {
                Err(YamlError::new(line, "the forge accepts only `%YAML 1.1`"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                // A missing value is an event with a text too, but has no position.
                let empty = plain && span.is_empty();
                if empty && anchor == 0 && tag.is_none() && self.wants_key() {
                    return Err(YamlError::new(line, "missing key"));
                }
                if empty && tag.is_some() && self.swallowed(span)? {
                    return Ok(());
                }
                if style == ScalarStyle::DoubleQuoted && self.escapes_slash(span) {
                    return Err(YamlError::new(line, "`\\/` is not a valid escape"));
                }
                if !empty {
                    self.note(span.byte_range(), self.role(style, span));
                }
                let text = if empty { String::new() } else { text.into_owned() };
                let mut size = Size::ONE;
                size.bytes += text.len();
                let kind = Kind::Scalar { text, plain, tag: short(tag) };
                self.close(Done { node: Node { kind, line }, size }, anchor)
            }
            Event::SequenceStart(style, anchor, _) => {
                self.open(Open::Sequence(vec![]), style, span, anchor)
            }
            Event::MappingStart(style, anchor, _) => {
                self.open(Open::Mapping(vec![], None), style, span, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Frame { open, line, column, start, anchor, size }) = self.stack.pop()
                else {
                    return Err(YamlError::new(line, "a collection ends that was not opened"));
                };
                if column.is_none() {
                    self.note(span.byte_range().map(|bytes| start..bytes.end), Role::Flow);
                }
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
            Event::Anchor(_, name) if !name.bytes().all(in_name) => {
                Err(YamlError::new(line, "an anchor's name may hold letters, digits, `_`, `-`"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the next node is a key of a block mapping.
    fn wants_key(&self) -> bool {
        self.stack.last().is_some_and(|frame| {
            frame.column.is_some() && matches!(frame.open, Open::Mapping(_, None))
        })
    }

    /// Whether the tag of an empty item includes the comma after it, as the forge's parser has it
    /// in `[!docs/**, src/**]`: then it belongs to the next item. Anything else there is an error;
    /// in a block, this parser reports it first.
    fn swallowed(&self, span: &Span) -> Result<bool, YamlError> {
        let Some(end) = span.tag_span().and_then(|tag| tag.byte_range()) else { return Ok(false) };
        let rest = self.text.as_bytes().get(end.end..).unwrap_or_default();
        let blank = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_whitespace);
        let sequence = matches!(self.stack.last(), Some(Frame { open: Open::Sequence(_), .. }));
        match rest.first() {
            byte if blank(byte) => Ok(false),
            Some(b',') if sequence && blank(rest.get(1)) => Ok(true),
            _ => Err(YamlError::new(span.start.line(), "white space must follow a tag")),
        }
    }

    /// Whether a text in double quotes holds `\/`, which the forge's parser rejects.
    fn escapes_slash(&self, span: &Span) -> bool {
        let text = span.byte_range().and_then(|bytes| self.text.get(bytes)).unwrap_or_default();
        let mut bytes = text.bytes();
        // The byte after a backslash does not begin another escape.
        while bytes.any(|byte| byte == b'\\') {
            if bytes.next() == Some(b'/') {
                return true;
            }
        }
        false
    }

    fn role(&self, style: ScalarStyle, span: &Span) -> Role {
        match style {
            ScalarStyle::Plain => Role::Plain(self.indent().map_or(0, |column| column + 1)),
            ScalarStyle::Literal | ScalarStyle::Folded => Role::Block(span.start.col()),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Role::Flow,
        }
    }

    /// The column of the innermost block collection.
    fn indent(&self) -> Option<usize> {
        self.stack.iter().rev().find_map(|frame| frame.column)
    }

    fn note(&mut self, bytes: Option<std::ops::Range<usize>>, role: Role) {
        if let (Some(tabs), Some(bytes)) = (&mut self.tabs, bytes) {
            tabs.note(bytes, role);
        }
    }

    fn open(
        &mut self,
        open: Open,
        style: StructureStyle,
        span: &Span,
        anchor: usize,
    ) -> Result<(), YamlError> {
        let line = span.start.line();
        if self.stack.len() >= DEPTH {
            return Err(YamlError::new(line, format!("nested more than {DEPTH} deep")));
        }
        let column = (style == StructureStyle::Block).then(|| span.start.col());
        let start = span.byte_range().map_or(0, |bytes| bytes.start);
        self.stack.push(Frame { open, line, column, start, anchor, size: Size::ONE });
        Ok(())
    }

    fn close(&mut self, done: Done, anchor: usize) -> Result<(), YamlError> {
        let Done { node, size } = done;
        if anchor > 0 {
            self.anchored = self.anchored.saturating_add(size.bytes);
            if self.anchored > ANCHORED {
                return Err(YamlError::new(node.line, "the anchored nodes are too large"));
            }
            self.anchor(anchor, (Arc::new(node.clone()), size));
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

    fn anchor(&mut self, number: usize, node: (Arc<Node>, Size)) {
        if self.anchors.len() <= number {
            self.anchors.resize_with(number + 1, || None);
        }
        self.anchors[number] = Some(node);
    }
}

/// The characters of an anchor's name.
fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// A tag in its usual short form.
fn short(tag: Option<Cow<'_, Tag>>) -> Option<String> {
    let tag = tag?;
    let full = format!("{}{}", tag.handle(), tag.suffix());
    match full.strip_prefix(COMMON) {
        _ if full == "!" => None,
        Some(name) => Some(format!("!!{name}")),
        None => Some(full),
    }
}
