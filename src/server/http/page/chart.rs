//! The chart of a class: desired and actual machines, minute by minute.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::telemetry::{MINUTES, Sample};

/// The height of a chart in its own units; a minute is one unit wide.
const HEIGHT: u32 = 24;
/// The possible windows of a chart, in minutes. Samples are kept for the last one.
const WINDOWS: [u32; 3] = [10, 30, MINUTES];

/// Returns the smallest window that shows all samples.
pub(super) fn window<'a>(samples: impl Iterator<Item = &'a Sample>) -> u32 {
    let oldest = samples.map(|sample| sample.minutes_ago).max().unwrap_or(0);
    WINDOWS.into_iter().find(|window| oldest < *window).unwrap_or(MINUTES)
}

/// Says how long a window is.
pub(super) fn title(window: u32) -> String {
    match window {
        ..60 => format!("last {window} min"),
        _ => format!("last {} h", window / 60),
    }
}

/// Returns the chart: actual machines as an area, desired ones as a line. Minutes without a sample
/// are gaps, and no sample at all is a dash.
pub(super) fn chart(samples: &[Sample], window: u32) -> Markup {
    let within = || samples.iter().filter(|sample| sample.minutes_ago < window);
    let most = |of: fn(&Sample) -> u32| within().map(of).max();
    let (Some(desired), Some(actual)) = (most(|s| s.desired), most(|s| s.actual)) else {
        return html! { span.quiet title="no sample yet" { "–" } };
    };
    let top = desired.max(actual);
    let (mut area, mut line) = (String::new(), String::new());
    for part in parts(within(), window) {
        draw(&mut area, &part, top, |sample| sample.actual, true);
        draw(&mut line, &part, top, |sample| sample.desired, false);
    }
    let text = format!("{}: desired up to {desired}, actual up to {actual}", title(window));
    html! {
        svg.chart role="img" aria-label=(text) viewBox={ "0 -1 " (window) " " (HEIGHT + 2) }
            preserveAspectRatio="none" {
            title { (text) }
            path.area d=(area) {}
            path.line d=(line) {}
        }
        small.quiet aria-hidden="true" { (top) }
    }
}

/// A row of minutes without a gap: where it begins, and its samples.
type Part<'s> = (u32, Vec<&'s Sample>);

/// Splits samples, oldest first, at their gaps.
fn parts<'s>(samples: impl Iterator<Item = &'s Sample>, window: u32) -> Vec<Part<'s>> {
    let mut parts: Vec<Part<'s>> = Vec::new();
    for sample in samples {
        let x = window - 1 - sample.minutes_ago;
        match parts.last_mut() {
            Some((begin, part)) if *begin + width(part) == x => part.push(sample),
            _ => parts.push((x, vec![sample])),
        }
    }
    parts
}

fn width(part: &[&Sample]) -> u32 {
    u32::try_from(part.len()).unwrap_or(u32::MAX)
}

/// Adds the steps of a row. An area is closed at the bottom.
fn draw(path: &mut String, (x, part): &Part<'_>, top: u32, of: fn(&Sample) -> u32, closed: bool) {
    let y = |sample: &Sample| HEIGHT - scaled(of(sample), top);
    let Some(first) = part.first() else { return };
    let _ = if closed {
        write!(path, "M{x} {HEIGHT}V{}", y(first))
    } else {
        write!(path, "M{x} {}", y(first))
    };
    let mut height = y(first);
    let mut minutes = 0;
    for sample in part {
        if y(sample) != height {
            height = y(sample);
            let _ = write!(path, "h{minutes}V{height}");
            minutes = 0;
        }
        minutes += 1;
    }
    let _ = write!(path, "h{minutes}");
    if closed {
        let _ = write!(path, "V{HEIGHT}Z");
    }
}

/// Returns the height of a count: 0 only for 0.
fn scaled(count: u32, top: u32) -> u32 {
    let height = (u64::from(count) * u64::from(HEIGHT)).div_ceil(u64::from(top.max(1)));
    u32::try_from(height).unwrap_or(HEIGHT).min(HEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(counts: &[(u32, u32, u32)]) -> Vec<Sample> {
        let sample = |&(minutes_ago, desired, actual)| Sample { minutes_ago, desired, actual };
        counts.iter().map(sample).collect()
    }

    fn drawn(counts: &[(u32, u32, u32)]) -> String {
        let samples = samples(counts);
        chart(&samples, window(samples.iter())).into_string()
    }

    #[test]
    fn without_a_sample_there_is_a_dash() {
        assert!(!drawn(&[]).contains("<svg") && drawn(&[]).contains("–"));
        let old = chart(&samples(&[(60, 1, 1)]), 30).into_string();
        assert!(!old.contains("<svg"), "it is not of this window: {old}");
    }

    #[test]
    fn one_sample_is_one_minute_at_the_right() {
        let text = drawn(&[(0, 4, 2)]);
        assert!(text.contains("viewBox=\"0 -1 10 26\""), "{text}");
        assert!(text.contains("d=\"M9 24V12h1V24Z\""), "half as high: {text}");
        assert!(text.contains("d=\"M9 0h1\""), "{text}");
        let words = "last 10 min: desired up to 4, actual up to 2";
        assert!(text.contains(&format!("role=\"img\" aria-label=\"{words}\"")), "{text}");
    }

    #[test]
    fn equal_minutes_are_one_step_and_gaps_stay_empty() {
        let text = drawn(&[(9, 1, 1), (8, 1, 1), (7, 2, 1), (3, 2, 2), (2, 2, 0), (0, 0, 0)]);
        assert!(text.contains("d=\"M0 24V12h3V24ZM6 24V0h1V24h1V24ZM9 24V24h1V24Z\""), "{text}");
        assert!(text.contains("d=\"M0 12h2V0h1M6 0h2M9 24h1\""), "{text}");
    }

    #[test]
    fn the_window_is_the_smallest_that_shows_everything() {
        for (oldest, words) in
            [(0, "last 10 min"), (9, "last 10 min"), (10, "last 30 min"), (119, "last 2 h")]
        {
            let samples = samples(&[(oldest, 1, 1)]);
            assert_eq!(title(window(samples.iter())), words);
        }
        assert_eq!(window([].iter()), 10);
    }

    #[test]
    fn huge_counts_and_nothing_but_zeros_stay_within_the_chart() {
        let text = drawn(&[(1, u32::MAX, 1), (0, 0, u32::MAX)]);
        assert!(text.contains("d=\"M8 24V23h1V0h1V24Z\""), "one machine is seen: {text}");
        assert!(text.contains("d=\"M8 0h1V24h1\""), "{text}");
        let text = drawn(&[(0, 0, 0)]);
        assert!(text.contains("d=\"M9 24h1\""), "{text}");
    }

    #[test]
    fn a_chart_of_two_restless_hours_is_small() {
        let all: Vec<_> = (0..MINUTES).map(|ago| (MINUTES - 1 - ago, ago % 7, ago % 5)).collect();
        let text = drawn(&all);
        assert!(text.len() < 2_000, "{} bytes", text.len());
    }
}
