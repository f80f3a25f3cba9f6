//! The story of a history: its events, and the violations with what led to them.

use jiff::Timestamp;
use sha2::Digest as _;

use super::{Laws, STORIES, STORY, Violation, mentions};

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
