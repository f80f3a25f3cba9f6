//! L7 for reports: none contains a credential.

use jiff::Timestamp;
use tinqs_ci_reconciler::controller::Report;
use tinqs_ci_reconciler::model::{AttemptId, Uid8};

use super::Laws;

impl Laws {
    /// L7: checks that a reconcile report contains no credential.
    pub fn on_report(&mut self, now: Timestamp, report: &Report) {
        self.reconciles += 1;
        let first = AttemptId { run: report.name.clone(), uid: Uid8(String::new()), number: 0 };
        let mut own = self
            .attempts
            .range(first..)
            .take_while(|(attempt_id, _)| attempt_id.run == report.name)
            .map(|(_, attempt)| attempt.runner.token.expose())
            // A scrambled number makes an attempt of which only a digest was ever seen here.
            .filter(|token| !token.is_empty())
            .peekable();
        if own.peek().is_none() {
            return;
        }
        let text = Text::new(serde_json::to_string(report).unwrap_or_default());
        if own.any(|token| text.contains(token)) {
            let what = format!("{}: a report contains a credential", report.name);
            self.broken("L7", now, report.name.as_str(), what);
        }
    }
}

/// A short text in which many tokens are searched. Preparing a search takes most of its time, and
/// few tokens consist of pairs of bytes that the text contains.
struct Text {
    text: String,
    /// A bit for each pair of bytes in the text.
    pairs: Box<[u64; 1024]>,
}

impl Text {
    fn new(text: String) -> Self {
        let mut pairs = Box::new([0; 1024]);
        for pair in text.as_bytes().windows(2) {
            let (word, bit) = place(pair);
            pairs[word] |= bit;
        }
        Self { text, pairs }
    }

    fn contains(&self, token: &str) -> bool {
        let has = |pair: &[u8]| {
            let (word, bit) = place(pair);
            self.pairs[word] & bit != 0
        };
        token.as_bytes().windows(2).all(has) && self.text.contains(token)
    }
}

/// Returns the place of a pair of bytes: a word and a bit in it.
fn place(pair: &[u8]) -> (usize, u64) {
    let pair = usize::from(pair[0]) << 8 | usize::from(pair[1]);
    (pair / 64, 1 << (pair % 64))
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn a_text_contains_the_same_tokens_as_its_string() {
        let text = "put tq-job-1-0a1b2c3d-1: refused (0123456789abcdef0123)";
        let searched = Text::new(text.to_owned());
        let tokens = [
            "",
            "p",
            "P",
            "put",
            "putt",
            "9abcdef0",
            "0123456789abcdef0123",
            "0123456789abcdef01234",
            "job-1-0a1b2c3d-1: refused",
            "job-1-0a1b2c3d-1: refuses",
        ];
        for token in tokens {
            assert_eq!(searched.contains(token), text.contains(token), "`{token}`");
        }
    }
}
