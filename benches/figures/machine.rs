//! CPU time and memory of processes, from `/proc`.

use std::fs;
use std::time::Duration;

use crate::figure::Result;

/// The unit of CPU time in `/proc` on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Returns the user and system time of a process, including ended threads, in steps of 10 ms.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    ticks(pid, 11)
}

/// Returns the user and system time of this process's ended descendants, in steps of 10 ms.
pub(crate) fn cpu_of_children() -> Result<Duration> {
    ticks(std::process::id(), 13)
}

/// Returns the sum of two adjacent fields; field 0 is the process state.
fn ticks(pid: u32, field: usize) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name may contain anything, so fields are counted after its parenthesis.
    let (_, fields) = stat.rsplit_once(')').ok_or("a stat file without a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let of = |at: usize| fields.get(at).and_then(|f| f.parse::<u32>().ok()).ok_or("a short stat");
    Ok(TICK * (of(field)? + of(field + 1)?))
}

/// Returns the CPU time of a process's current threads in nanosecond precision. Ended threads are
/// missing, so this suits short processes only.
pub(crate) fn cpu_of_threads(pid: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end in the meantime.
        let told = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let nanoseconds = told.split_whitespace().next().and_then(|n| n.parse().ok());
        sum += Duration::from_nanos(nanoseconds.unwrap_or(0));
    }
    Ok(sum)
}

/// Returns the CPU time of the calling thread in nanosecond precision.
pub(crate) fn cpu_of_this_thread() -> Result<Duration> {
    let told = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = told.split_whitespace().next().ok_or("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Returns the current and the peak memory of a process in MiB.
pub(crate) fn memory(pid: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mebibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|l| l.split_whitespace().next()?.parse::<u32>().ok());
        kibibytes.map(|k| f64::from(k) / 1024.0).ok_or("a status without memory")
    };
    Ok((mebibytes("VmRSS:")?, mebibytes("VmHWM:")?))
}

/// Returns the IDs of processes whose environment contains this text.
pub(crate) fn carrying(text: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(text.len()).any(|window| window == text.as_bytes())
    })
    .collect()
}
