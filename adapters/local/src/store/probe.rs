//! The write of a probe after a failed write: as many bytes as had no room.

use redb::{TableDefinition, WriteTransaction};

/// `space` → bytes that a probe has written; removed by the next usual probe.
const PROBE: TableDefinition<&str, &[u8]> = TableDefinition::new("probe");

/// Writes this many bytes, or with 0 removes those of an earlier probe.
pub(super) fn occupy(write: &WriteTransaction, bytes: usize) -> Result<(), redb::Error> {
    let mut table = write.open_table(PROBE)?;
    if bytes > 0 {
        table.insert("space", incompressible(bytes).as_slice())?;
    } else {
        table.remove("space")?;
    }
    Ok(())
}

/// Bytes that take as much room on a file system that compresses.
fn incompressible(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}
