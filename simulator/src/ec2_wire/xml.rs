//! XML of the Query protocol: only elements and lists of `<item>`.

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

/// An element.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: String,
    space: Option<&'static str>,
    text: Option<String>,
    children: Vec<Element>,
}

/// An element with text.
pub(super) fn leaf(name: &str, text: impl ToString) -> Element {
    Element {
        name: name.to_owned(),
        space: None,
        text: Some(text.to_string()),
        children: Vec::new(),
    }
}

/// An element with children.
pub(super) fn node(name: &str, children: impl IntoIterator<Item = Element>) -> Element {
    let children = children.into_iter().collect();
    Element { name: name.to_owned(), space: None, text: None, children }
}

/// A list whose members are `<item>` elements.
pub(super) fn list<I>(name: &str, members: impl IntoIterator<Item = I>) -> Element
where
    I: IntoIterator<Item = Element>,
{
    node(name, members.into_iter().map(|member| node("item", member)))
}

impl Element {
    pub(super) fn in_space(mut self, space: &'static str) -> Self {
        self.space = Some(space);
        self
    }

    /// Returns the document.
    pub(super) fn document(&self) -> String {
        let mut writer = Writer::new(Vec::new());
        // Writing into memory cannot fail.
        let _ = self.write(&mut writer);
        let body = String::from_utf8(writer.into_inner()).unwrap_or_default();
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}")
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        let mut start = BytesStart::new(self.name.as_str());
        if let Some(space) = self.space {
            start.push_attribute(("xmlns", space));
        }
        writer.write_event(Event::Start(start))?;
        if let Some(text) = &self.text {
            writer.write_event(Event::Text(BytesText::new(text)))?;
        }
        for child in &self.children {
            child.write(writer)?;
        }
        writer.write_event(Event::End(BytesEnd::new(self.name.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_list_members_are_items() {
        let tree = node("A", [leaf("b", "x<&>\"y"), list("set", [[leaf("c", 1)], [leaf("c", 2)]])]);
        let text = tree.in_space("urn:x").document();
        let (_, body) = text.split_once('\n').unwrap();
        assert!(body.starts_with("<A xmlns=\"urn:x\"><b>x&lt;&amp;&gt;"), "{body}");
        assert!(body.ends_with("y</b><set><item><c>1</c></item><item><c>2</c></item></set></A>"));
    }
}
