//! Names of jobs with the values of a matrix: `test (ubuntu-latest, 1.27)`.

use tinqs_ci_reconciler::text::cut_middle;
use unicode_width::UnicodeWidthStr as _;

/// The columns that stay of the job's name, and of each value, if they are cut.
const SHORTEST_JOB: usize = 6;
const SHORTEST_VALUE: usize = 3;
/// Parts that are no wider, such as versions, stay whole.
const SHORT: usize = 5;

/// Escapes a job's name and cuts it to `width` columns. Its longest parts are cut first, each in its
/// middle, so that any value of a matrix still tells the job apart.
pub(super) fn cut_name(name: &str, width: usize) -> String {
    let whole = cut_middle(name, usize::from(u16::MAX));
    if whole.width() <= width {
        return whole;
    }
    parts(&whole, width).unwrap_or_else(|| cut_middle(name, width))
}

/// Cuts the parts of an escaped name; `None` if it has no values, or too many.
fn parts(name: &str, width: usize) -> Option<String> {
    let (job, values) = name.strip_suffix(')')?.split_once(" (")?;
    let parts: Vec<&str> = std::iter::once(job).chain(values.split(", ")).collect();
    let around = " ()".len() + ", ".len() * (parts.len() - 2);
    let room = width.checked_sub(around)?;
    let mut widths: Vec<usize> = parts.iter().map(|part| part.width()).collect();
    let shortest = std::iter::once(SHORTEST_JOB).chain(std::iter::repeat(SHORTEST_VALUE));
    let least = |(width, least): (&usize, usize)| if *width <= SHORT { *width } else { least };
    let least: Vec<usize> = widths.iter().zip(shortest).map(least).collect();
    while widths.iter().sum::<usize>() > room {
        let longer = widths.iter_mut().zip(&least).filter(|(width, least)| **width > **least);
        *longer.map(|(width, _)| width).max()? -= 1;
    }
    let mut cut = parts.iter().zip(widths).map(|(part, width)| cut_middle(part, width));
    let job = cut.next()?;
    Some(format!("{job} ({})", cut.collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_values_of_a_matrix_stay_apart() {
        let leg = |version| format!("test (ubuntu-latest, {version}, postgres, with coverage)");
        assert_eq!(cut_name(&leg("1.27"), 60), leg("1.27"));
        assert_eq!(cut_name(&leg("1.27"), 40), "test (ubun…est, 1.27, postgres, wit…age)");
        assert_eq!(cut_name(&leg("1.26"), 29), "test (ub…t, 1.26, po…s, wi…e)");
        assert_eq!(cut_name(&leg("1.26"), 26), "test (u…t, 1.26, p…s, w…e)");
        assert_eq!(cut_name(&leg("1.26"), 22), "test (ubunt… coverage)");
        assert_eq!(cut_name("integration-tests (1.25)", 16), "inte…ests (1.25)");
        for name in ["a-name-without-values", "odd (name", "odd) (name", "()", " ()", "x ()"] {
            assert!(cut_name(name, 4).width() <= 4, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_fits(name in "[a-z🚀単( ,)\u{1b}]{0,40}", width in 1_usize..50) {
            let cut = cut_name(&name, width);
            prop_assert!(cut.width() <= width, "{:?} of {:?} at {}", cut, name, width);
        }
    }
}
