//! Headless Chromium, one process per page.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::Host;

/// The longest that a page may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Browser {
    program: PathBuf,
}

impl Browser {
    pub(crate) fn find() -> Option<Self> {
        let given = std::env::var_os("CHROMIUM").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut usual = std::env::split_paths(&path).flat_map(|folder| {
            ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name))
        });
        let program = given.or_else(|| usual.find(|file| file.is_file()))?;
        Some(Self { program })
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the arguments of a browser that does nothing by itself.
    pub(crate) fn quiet(profile: &Path) -> Vec<String> {
        let fixed = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-extensions",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let profile = format!("--user-data-dir={}", profile.display());
        fixed.into_iter().map(str::to_owned).chain([profile]).collect()
    }

    /// Runs the browser until it ends, and returns its output.
    fn run(&self, more: &[String], url: &str) -> Vec<u8> {
        let profile = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(&self.program);
        command
            .args(Self::quiet(profile.path()))
            .args(more)
            .arg(url)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut out = child.stdout.take().expect("piped");
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut out, &mut bytes).map(|_| bytes)
        });
        let end = Instant::now() + PATIENCE;
        while child.try_wait().expect("its state").is_none() {
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the browser did not end within {PATIENCE:?}: {url}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        reader.join().expect("no panic").expect("its output")
    }

    /// Returns the document after so many milliseconds of the browser's own time.
    pub(crate) fn dom(&self, url: &str, milliseconds: u32) -> String {
        let budget = format!("--virtual-time-budget={milliseconds}");
        let bytes = self.run(&["--dump-dom".to_owned(), budget], url);
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// Returns the width of the screen, and that of the document.
    pub(crate) fn widths(&self, host: &Host, path: &str, width: u32) -> (u32, u32) {
        let size = format!("--window-size={width},800");
        let more = ["--dump-dom".to_owned(), "--virtual-time-budget=1000".to_owned(), size];
        let bytes = self.run(&more, &host.url(&format!("/measure?width={width}&path={path}")));
        let text = String::from_utf8(bytes).expect("UTF-8");
        let measured = text.rsplit("measured ").next().unwrap_or_else(|| panic!("{path}: {text}"));
        let mut numbers =
            measured.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
        (numbers.next().expect("a width"), numbers.next().expect("a width"))
    }

    /// Returns a picture (PNG) of the page on a screen of this width.
    pub(crate) fn screenshot(&self, url: &str, width: u32) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("page.png");
        let more = [
            format!("--screenshot={}", file.display()),
            format!("--window-size={width},800"),
            "--virtual-time-budget=1000".to_owned(),
        ];
        self.run(&more, url);
        let picture = std::fs::read(&file).expect("a picture");
        keep(&format!("page-{width}"), &picture);
        picture
    }
}

/// Keeps a picture for people, where `TINQS_CI_PICTURES` says.
pub(crate) fn keep(name: &str, picture: &[u8]) {
    let Some(folder) = std::env::var_os("TINQS_CI_PICTURES").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(format!("{name}.png")), picture).expect("written");
}
