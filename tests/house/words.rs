//! The words of prose in Markdown. `tests/reference.rs` uses them too.

/// Returns the words of a line: the parts that may be in different lines. A code span is one.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut in_code = false;
    for part in line.split(' ') {
        match words.last_mut() {
            Some(word) if in_code => {
                word.push(' ');
                word.push_str(part);
            }
            _ => words.push(part.to_owned()),
        }
        in_code ^= part.matches('`').count() % 2 == 1;
    }
    words
}
