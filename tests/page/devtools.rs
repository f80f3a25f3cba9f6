//! A browser that a test drives by keys: Chromium's own protocol, over a pair of pipes.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::browser::{Browser, PATIENCE};

/// One tab of a browser of its own, which ends with it.
pub(crate) struct Tab {
    browser: Child,
    to: File,
    from: Receiver<Value>,
    session: Option<String>,
    number: u64,
    _folder: tempfile::TempDir,
}

impl Tab {
    pub(crate) fn new(browser: &Browser) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [to, from] = ["to", "from"].map(|name| folder.path().join(name));
        let made = Command::new("mkfifo").args([&to, &from]).status().expect("mkfifo runs");
        assert!(made.success(), "two pipes");
        // The browser reads descriptor 3 and writes 4.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$@\" 3<\"$TO\" 4>\"$FROM\"", "sh"])
            .arg(browser.program())
            .args(Browser::quiet(folder.path()))
            .arg("--remote-debugging-pipe")
            .envs([("TO", &to), ("FROM", &from)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let browser = command.spawn().expect("it starts");
        let to = OpenOptions::new().write(true).open(to).expect("its input");
        let mut out = BufReader::new(File::open(from).expect("its output"));
        let (send, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while out.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let parsed = serde_json::from_slice(&message).expect("JSON");
                if send.send(parsed).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut tab = Self { browser, to, from, session: None, number: 0, _folder: folder };
        let target = tab.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = tab.call("Target.attachToTarget", &attach);
        tab.session = session["sessionId"].as_str().map(str::to_owned);
        tab
    }

    /// Calls a method, and returns its result; an error as `error`.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser reads");
        loop {
            let mut answer = self.from.recv_timeout(PATIENCE).expect("the browser answers");
            if answer["id"] == self.number {
                let error = answer["error"].take();
                let result = answer["result"].take();
                return if error.is_null() { result } else { json!({ "error": error }) };
            }
        }
    }

    pub(crate) fn go(&mut self, url: &str) {
        let gone = self.call("Page.navigate", &json!({ "url": url }));
        assert!(gone["errorText"].is_null() && gone["error"].is_null(), "{url}: {gone}");
    }

    /// Presses and releases a key.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            _ => panic!("{key} is not known here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Presses Tab until the focus is on the element with this text.
    pub(crate) fn focus(&mut self, text: &str) {
        self.focus_on(&format!("document.activeElement.innerText.trim() === {}", json!(text)));
    }

    /// Presses Tab until this is true of the focus.
    pub(crate) fn focus_on(&mut self, holds: &str) {
        let mut seen = Vec::new();
        for _ in 0..200 {
            self.press("Tab");
            if self.value(holds) == true {
                return;
            }
            seen.push(self.value("document.activeElement.outerHTML.slice(0, 80)"));
        }
        panic!("Tab does not lead to {holds}, only to {seen:?}");
    }

    /// Shows the page on a screen of this width, in light or dark.
    pub(crate) fn on_screen(&mut self, width: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        let set = self.call("Emulation.setDeviceMetricsOverride", &size);
        assert!(set["error"].is_null(), "{set}");
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        let set = self.call("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
        assert!(set["error"].is_null(), "{set}");
    }

    /// Returns a picture (PNG) of the whole page.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.call("Page.captureScreenshot", &whole);
        let data = taken["data"].as_str().unwrap_or_else(|| panic!("no picture: {taken}"));
        STANDARD.decode(data).expect("base64")
    }

    /// Returns what a promise gives.
    pub(crate) fn awaited(&mut self, expression: &str) -> Value {
        let asked =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Returns the value of an expression; `null` while a page is being replaced.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", &asked)["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        let ready = format!("document.readyState === 'complete' && ({expression})");
        while self.value(&ready) != true {
            if Instant::now() > end {
                let shown = self.value("location.href + ' ' + document.body.innerText");
                panic!("not true: {expression}\n{shown}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the page shows this text at this path.
    pub(crate) fn shows(&mut self, path: &str, text: &str) {
        let (path, text) = (json!(path), json!(text));
        self.until(&format!(
            "location.pathname === {path} && document.body.innerText.includes({text})"
        ));
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        self.session = None;
        let close = json!({ "id": 0, "method": "Browser.close" });
        let _ = self.to.write_all(format!("{close}\0").as_bytes());
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && matches!(self.browser.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}
