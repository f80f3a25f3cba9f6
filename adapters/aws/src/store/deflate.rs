//! Deflates bodies against a dictionary of what every record contains, so that a record with its
//! timeline fits into one write unit.

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// The first byte of a body that needs the dictionary. No deflate stream begins with it: it would
/// be a block of the reserved type.
const MARK: u8 = 0x07;

/// Frequent text comes last, where the distance is shortest. Stored bodies refer to it: another
/// dictionary needs another mark.
const DICTIONARY: &[u8] = concat!(
    r#"{"kind":"Unblocked"},{"kind":"Blocked"},{"kind":"Reassigned"},{"kind":"MachineLost","#,
    r#""ended_by":"itself","request","cloud"},{"kind":"GaveUp"},{"kind":"Retried"},"#,
    r#"{"kind":"Deleted"},{"kind":"Reopened"},{"kind":"AttemptEnded","why":"MachineGone"},"#,
    r#"{"kind":"Refused","why":"NoCapacity"},{"attempt":{"boot":{"deadline":"2026-01-01T00:00:0"#,
    r#"0.","git_token":"","idle_within":"2m","instance_url":"https://git"},"class":"linux","#,
    r#""decided_at":"2026-","ended":{"at":"2026-","why":"Consumed"},"number":1,"#,
    r#""placements":[{"answered":{"at":"2026-","id":"i-0"},"asked_again":true,"#,
    r#""machine":{"image":"ami-0","instance_profile":"","kind":"c7a.large","#,
    r#""market":"on-demand","security_groups":["sg-0"],"subnet":"subnet-0"},"#,
    r#""refused":{"at":"2026-","why":"NoCapacity"}}],"runner":{"id":1,"#,
    r#""labels":["ubuntu-latest:docker://node:22-bookworm","linux:host"],"name":"tq-job-","#,
    r#""token":"","uuid":""}},"conditions":[{"message":"","reason":"MachineReassigned","#,
    r#""since":"2026-"}],"due":"2026-","failures":0,"finished_at":"2026-","next":2,"#,
    r#""outcome":"Succeeded","past":[{"class":"linux","decided_at":"2026-","#,
    r#""ended":{"at":"2026-","why":"MachineGone"},"number":1,"#,
    r#""placements":[{"answered":{"at":"2026-","id":"i-0"}}],"registration":1}],"#,
    r#""phase":"Starting","Running","Finished","retry_at":"2026-","runner":"tq-job-","#,
    r#""timeline":[{"at":"2026-","by":"webhook","kind":"Seen"},{"at":"2026-","attempt":1,"#,
    r#""kind":"Registered"},{"at":"2026-","attempt":1,"kind":"Launched","machine":"i-0"},"#,
    r#"{"at":"2026-","attempt":1,"kind":"Started","runner":"tq-job-"},{"at":"2026-","#,
    r#""kind":"Finished","outcome":"Succeeded"}],"waiting_since":"2026-"},"#,
    r#""created_at":"2026-01-01T00:00:00.","name":"job-","spec":{"about":{"branch":"main","#,
    r#""commit":"","job":"build","repo":"","run_id":1,"#,
    r#""url":"https://git/actions/runs/1/jobs/0","workflow":"ci.yaml"},"job":{"job_id":1,"#,
    r#""repo":"","repo_id":1},"runs_on":["ubuntu-latest"]},"status":{"#,
)
.as_bytes();

/// Deflates a document.
pub(super) fn deflated(document: &[u8]) -> Vec<u8> {
    // The strongest level, and no zlib header.
    let mut compressor = CompressorOxide::new(create_comp_flags_from_zip_params(9, 0, 0));
    // What the dictionary itself deflates to is left out: both sides know it.
    let _ = compress_to_output(&mut compressor, DICTIONARY, TDEFLFlush::Sync, |_| true);
    let mut body = vec![MARK];
    let _ = compress_to_output(&mut compressor, document, TDEFLFlush::Finish, |part| {
        body.extend_from_slice(part);
        true
    });
    body
}

/// Inflates a body of this or an earlier version to at most `limit` bytes.
///
/// # Errors
/// Returns the status of the decompressor.
pub(super) fn inflated(body: &[u8], limit: usize) -> Result<Vec<u8>, TINFLStatus> {
    let Some((&MARK, mut rest)) = body.split_first() else {
        return decompress_to_vec_with_limit(body, limit).map_err(|error| error.status);
    };
    let limit = limit.saturating_add(DICTIONARY.len());
    let mut decompressor = Box::<DecompressorOxide>::default();
    let mut out = DICTIONARY.to_vec();
    let mut end = out.len();
    out.resize((end + rest.len().saturating_mul(4)).min(limit), 0);
    loop {
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, read, written) = decompress(&mut decompressor, rest, &mut out, end, flags);
        end += written;
        rest = rest.get(read..).unwrap_or_default();
        match status {
            TINFLStatus::Done => {
                out.truncate(end);
                return Ok(out.split_off(DICTIONARY.len()));
            }
            TINFLStatus::HasMoreOutput if out.len() < limit => {
                out.resize(out.len().saturating_mul(2).min(limit), 0);
            }
            _ => return Err(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_inflated_to_what_it_was() {
        let record = String::from_utf8_lossy(DICTIONARY).replace("2026-", "2031-").repeat(40);
        for document in [b"".as_slice(), b"{}", b"\x07", record.as_bytes()] {
            let body = deflated(document);
            assert_eq!(inflated(&body, 1 << 20).as_deref(), Ok(document));
            // Bodies of earlier versions had no dictionary.
            let old = miniz_oxide::deflate::compress_to_vec(document, 9);
            assert_ne!(old.first(), Some(&MARK));
            assert_eq!(inflated(&old, 1 << 20).as_deref(), Ok(document));
        }
        assert!(deflated(DICTIONARY).len() < 40, "{}", deflated(DICTIONARY).len());
    }

    #[test]
    fn a_body_that_is_too_long_or_cut_off_is_an_error() {
        let body = deflated(&vec![b'a'; 100_000]);
        assert_eq!(inflated(&body, 99_999), Err(TINFLStatus::HasMoreOutput));
        assert_eq!(inflated(&body, 100_000).map(|all| all.len()), Ok(100_000));
        for end in 0..body.len() {
            assert!(inflated(&body[..end], 1 << 20).is_err(), "{end}");
        }
        assert!(inflated(&[MARK, 0xff, 0xff, 0xff], 1 << 20).is_err());
    }
}
