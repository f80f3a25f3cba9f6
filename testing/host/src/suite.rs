//! A suite whose tests wait for servers and machines more than they compute: more of them run at
//! once than there are cores. The standard harness runs one per core.

use std::future::Future;
use std::process::ExitCode;
use std::thread::available_parallelism;

use libtest_mimic::Arguments;
pub use libtest_mimic::Trial;

/// The least number of tests at once.
const LEAST: usize = 4;
/// The number of tests at once per core.
const PER_CORE: usize = 2;

/// Defines `main` of a suite with these tests, each an `async fn()`.
#[macro_export]
macro_rules! suite {
    ($($test:path),+ $(,)?) => {
        fn main() -> std::process::ExitCode {
            $crate::suite::run(vec![$($crate::suite::trial(stringify!($test), $test)),+])
        }
    };
}

/// Makes a test of a function, which runs on a runtime of its own.
pub fn trial<F>(name: &str, test: impl Fn() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    let name: String = name.split_whitespace().collect();
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(test());
        Ok(())
    })
}

/// Runs the tests that the arguments select. `--test-threads` and `RUST_TEST_THREADS` say how many
/// at once, as with the standard harness.
pub fn run(tests: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    let set = std::env::var("RUST_TEST_THREADS").ok().and_then(|text| text.parse().ok());
    let cores = available_parallelism().map_or(1, usize::from);
    arguments.test_threads = arguments.test_threads.or(set).or(Some(LEAST.max(cores * PER_CORE)));
    libtest_mimic::run(&arguments, tests).exit_code()
}
