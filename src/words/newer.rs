//! Records of a newer format than this release reads, in words.

use tinqs_ci_reconciler::model::RecordFormats;
use tinqs_ci_reconciler::ports::NewerRecord;
use tinqs_ci_reconciler::text::cut;

/// The reason of records of a newer format.
pub const NEWER_RECORD: &str = "NewerRecord";

/// The remedy for a person.
pub const FIX: &str = "upgrade this replica to the newest release that runs on this store";

/// The maximum number of records that are named.
const NAMED: usize = 5;

/// Says which records are of a newer format.
pub fn sentence(records: &[NewerRecord]) -> String {
    let told = |one: &NewerRecord| format!("{} (format {})", cut(&one.name, 60), one.format);
    let names: Vec<String> = records.iter().take(NAMED).map(told).collect();
    let more = match records.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "the records of {}{more} were written by a newer release; this one reads formats up to \
         {}: left alone",
        names.join(", "),
        RecordFormats::OWN.reads,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_records_are_named() {
        let one = |id: u32| NewerRecord { name: format!("job-{id}"), format: 99 };
        let said = sentence(&(1..=7).map(one).collect::<Vec<_>>());
        assert!(said.starts_with("the records of job-1 (format 99), job-2 (format 99)"), "{said}");
        assert!(said.contains("job-5 (format 99) and 2 more were"), "{said}");
    }
}
