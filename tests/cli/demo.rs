//! The demonstration, as a newcomer runs it.

use crate::{command, said, tinqs};

/// The story ends by itself, with nothing lost, doubled or left over.
#[test]
fn the_story_ends_well() {
    let said = tinqs(&["demo"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let last = said.out.lines().last().expect("lines");
    let counted = "jobs 10, machines 11 (one was taken back), lost 0, doubled 0, leaked 0";
    assert!(last.ends_with(counted), "{}", said.out);
    for told in [
        "the webhook is lost; the poll",
        "is taken back by the cloud",
        "is cancelled",
        "found no job, drained itself and powered off",
        "was killed and goes on from what is written and seen",
    ] {
        assert!(said.out.contains(told), "not told: {told}\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "no colours into a pipe");
}

/// Without a place for its file it says what it needs.
#[test]
fn no_temporary_directory_is_said() {
    let mut demo = command(&["demo"], &[("TMPDIR", "/nowhere/at/all")]);
    let said = said(demo.output().expect("it runs"));
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(
        said.err.starts_with("error: the demo cannot make a temporary directory"),
        "{}",
        said.err
    );
}
