//! Reads the files that the configuration names.

use std::fmt::Display;
use std::io::Read as _;
use std::path::Path;

use tinqs_ci_reconciler::text::cut;

/// Limits such a file, in case the path names something else.
const BYTES: u64 = 65_536;

/// Reads a small file.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let shown = cut(&path.to_string_lossy(), 200);
    let fail = |why: &dyn Display| format!("cannot read the file `{shown}`: {why}");
    let size = std::fs::metadata(path).map_err(|e| fail(&e))?;
    if size.is_dir() {
        return Err(fail(&"it is a directory"));
    }
    if size.len() > BYTES {
        return Err(fail(&format!("it is larger than {BYTES} bytes")));
    }
    // A device or a pipe reports no size.
    let file = std::fs::File::open(path).map_err(|e| fail(&e))?;
    let mut bytes = Vec::new();
    file.take(BYTES + 1).read_to_end(&mut bytes).map_err(|e| fail(&e))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BYTES) {
        return Err(fail(&format!("it is larger than {BYTES} bytes")));
    }
    Ok(bytes)
}
