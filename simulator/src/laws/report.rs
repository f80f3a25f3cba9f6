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

/// A short text in which many tokens are searched. The search itself prepares each token, which
/// takes most of its time, and most tokens are longer than any word of the text.
struct Text {
    text: String,
    longest_word: usize,
}

impl Text {
    fn new(text: String) -> Self {
        let longest_word = words(&text).map(str::len).max().unwrap_or(0);
        Self { text, longest_word }
    }

    fn contains(&self, token: &str) -> bool {
        let may_fit = token.len() <= self.longest_word || words(token).nth(1).is_some();
        may_fit && self.text.contains(token)
    }
}

/// Returns the parts between characters that are neither letters nor digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
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
