//! The `demo` command.

use crate::{command, said, tinqs};

#[test]
fn the_demo_ends_with_nothing_lost_doubled_or_leaked() {
    let said = tinqs(&["demo"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let last = said.out.lines().last().expect("lines");
    let counted = "jobs 10, machines 11 (one was interrupted), lost 0, doubled 0, leaked 0";
    assert!(last.ends_with(counted), "{}", said.out);
    for told in [
        "the webhook is lost; the next poll",
        "was interrupted by the cloud",
        "is canceled",
        "got no job and powered itself off",
        "was killed; the new process continues from the stored records",
    ] {
        assert!(said.out.contains(told), "not printed: {told}\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "no colors in a pipe");
}

#[test]
fn a_missing_temporary_directory_is_reported() {
    let mut demo = command(&["demo"], &[("TMPDIR", "/nowhere/at/all")]);
    let said = said(demo.output().expect("it runs"));
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(
        said.err.starts_with("error: the demo cannot create a temporary directory"),
        "{}",
        said.err
    );
}
