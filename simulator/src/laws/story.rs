//! The events of a world, and the events that led to a violation.

use jiff::Timestamp;
use sha2::Digest as _;

use super::{Laws, Violation};

/// Maximum lines of a story.
const STORY: usize = 120;
/// Number of violations that keep a story.
const STORIES: usize = 5;

impl Laws {
    /// Records an event of the world as one line.
    pub fn tell(&mut self, now: Timestamp, line: &str) {
        let since = now.duration_since(self.began_at).as_millis();
        let (seconds, millis) = (since / 1000, since % 1000);
        let line = format!(
            "{:3}:{:02}:{:02}.{millis:03} {line}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        self.hash.update(line.as_bytes());
        self.hash.update(b"\n");
        if self.told.len() >= self.keeps_events {
            self.told.pop_front();
        }
        self.told.push_back(line);
    }

    /// Records a violation. `about` is a word shared by the events that led to it.
    pub fn broken(&mut self, law: &'static str, now: Timestamp, about: &str, what: String) {
        self.tell(now, &format!("BROKEN {law}: {what}"));
        let story = if self.violations.len() < STORIES { self.story(about) } else { Vec::new() };
        self.violations.push(Violation { law, seed: self.seed, at: now, what, story });
    }

    /// Returns the last events that contain `about`, oldest first; all last events if it is empty.
    pub fn story(&self, about: &str) -> Vec<String> {
        let of_it = self.told.iter().rev().filter(|line| mentions(line, about));
        let mut story: Vec<String> = of_it.take(STORY).cloned().collect();
        story.reverse();
        story
    }

    /// Returns all kept events.
    pub fn chronicle(&self) -> impl Iterator<Item = &str> {
        self.told.iter().map(String::as_str)
    }

    /// Returns a hash over all events.
    pub fn hash(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }
}

/// Returns whether a line contains a word that is not followed by a digit: `job-1` is not `job-12`.
fn mentions(line: &str, word: &str) -> bool {
    word.is_empty()
        || line
            .match_indices(word)
            .any(|(at, _)| !line[at + word.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_story_covers_one_run_and_the_hash_covers_all() {
        let start = Timestamp::UNIX_EPOCH;
        let mut laws = Laws::new(1, start);
        let mut other = Laws::new(1, start);
        for line in ["put job-1", "put job-12", "launch tq-job-1-abc"] {
            laws.tell(start, line);
            other.tell(start, line);
        }
        assert_eq!(laws.hash(), other.hash());
        laws.broken("L2", start + SignedDuration::from_secs(3), "job-1", "two machines".into());
        assert_ne!(laws.hash(), other.hash());
        let story = &laws.violations()[0].story;
        assert_eq!(story.len(), 2, "{story:?}");
        assert!(laws.violations()[0].to_string().contains("seed 1: L2"));
    }
}
