//! `[server.tls]`: its files, and what is wrong with them.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tinqs_ci::settings::{Loaded, Tls, Validity};
use tinqs_ci_net::{Flaw, Identity, Part};
use tinqs_ci_testing::certificates::{Authority, Issued};

use crate::{good, parse, with};

const HOME: (&str, &str) = ("HOME_TOKEN", "long-token");

/// A folder with a valid pair.
struct Pair {
    folder: tempfile::TempDir,
    issued: Issued,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let issued = Authority::new().issue(&["ci.example.com", "*.apps.example.com", "10.0.0.5"]);
        issued.write(folder.path());
        Self { folder, issued }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self) -> String {
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| self.path(name).display().to_string());
        with(&format!("[server.tls]\ncert = \"{cert}\"\nkey = \"{key}\""))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("written");
    }

    /// Returns the only mistake, without the folder's name; it shows nothing of the key.
    fn mistake(&self) -> String {
        let mistakes = parse(&self.text(), &[HOME]).expect_err("wrong").to_string();
        for secret in self.issued.secret_lines() {
            assert!(!mistakes.contains(secret), "{mistakes}");
        }
        mistakes.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

#[test]
fn a_pair_is_read_with_its_names_and_dates() {
    let pair = Pair::new();
    let Loaded { settings, warnings, .. } = good(&pair.text(), &[HOME]);
    assert_eq!(warnings, Vec::<String>::new());
    let shown = format!("{settings:?}");
    assert!(pair.issued.secret_lines().iter().all(|line| !shown.contains(line)), "{shown}");
    let tls = settings.server.tls.expect("configured");
    assert_eq!(tls.identity.names(), ["ci.example.com", "*.apps.example.com", "10.0.0.5"]);
    for name in ["ci.example.com", "CI.EXAMPLE.COM", "a.apps.example.com", "10.0.0.5"] {
        assert!(tls.identity.is_for(name), "{name}");
    }
    for name in ["example.com", "a.b.apps.example.com", "10.0.0.6", "127.0.0.1", "", "[::1]"] {
        assert!(!tls.identity.is_for(name), "{name}");
    }
    let days = tls.expires_at().duration_since(Timestamp::now()).as_hours() / 24;
    assert!((363..=365).contains(&days), "{days}");
    assert!(!tls.identity.is_authority());
    let same = good(&pair.text(), &[HOME]).settings.server.tls;
    assert_eq!(same.as_ref(), Some(&tls));
    let variables = ["cert", "key"].map(|name| {
        (
            format!("TINQS_CI_SERVER__TLS__{}", name.to_uppercase()),
            pair.path(&format!("{name}.pem")),
        )
    });
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, path)| (name.as_str(), path.to_str().expect("text")))
        .chain([HOME])
        .collect();
    assert_eq!(good(&with(""), &variables).settings.server.tls, Some(tls), "by variables");
}

#[test]
fn both_keys_are_needed() {
    let mistakes = |more: &str| parse(&with(more), &[HOME]).expect_err("wrong").to_string();
    assert_eq!(
        mistakes("[server.tls]\ncert = \"x\""),
        "ci.toml:1: server.tls.key: is missing: expected a string"
    );
    assert_eq!(
        mistakes("[server]\ntls = \"x\""),
        "ci.toml:2: server.tls: expected a table, not a string"
    );
    let unknown = mistakes("[server.tls]\ncertificate = \"x\"\ncert = \"a\"\nkey = \"b\"");
    assert!(unknown.contains("server.tls.certificate: is not a known key"), "{unknown}");
    let elsewhere = mistakes("[server]\ncert = \"x\"");
    assert!(elsewhere.contains("it belongs in [server.tls]"), "{elsewhere}");
}

/// Each case: the file that is replaced, its content, and the mistake.
#[test]
fn each_flaw_of_the_files_is_named_with_its_remedy() {
    let pair = Pair::new();
    let (cert, key) = (pair.issued.cert.as_str(), pair.issued.key.as_str());
    let other = Authority::new().issue(&["ci.example.com"]).key;
    let damaged = |text: &str| {
        let within = text.len() / 4;
        format!("{}!*{}", &text[..within], &text[within + 2..])
    };
    let cut_off = |text: &str| text[..text.len() / 3].to_owned();
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n\
               AAAA\n-----END RSA PRIVATE KEY-----\n";
    let no_certificate = "has no certificate: expected PEM text with";
    let no_key = "has no private key: expected PEM text with";
    let cases: &[(&str, String, &str)] = &[
        ("cert.pem", String::new(), no_certificate),
        ("cert.pem", key.to_owned(), no_certificate),
        ("cert.pem", "no PEM at all".to_owned(), no_certificate),
        ("cert.pem", damaged(cert), "has a damaged certificate: copy the whole file again"),
        ("cert.pem", cut_off(cert), "has a damaged certificate: copy the whole file again"),
        ("cert.pem", not_der.to_owned(), "has a certificate that clients cannot use ("),
        ("key.pem", String::new(), no_key),
        ("key.pem", cert.to_owned(), no_key),
        ("key.pem", damaged(key), "has a damaged private key: copy the whole file again"),
        ("key.pem", cut_off(key), "has a damaged private key: copy the whole file again"),
        ("key.pem", old.to_owned(), "has an encrypted private key"),
        ("key.pem", not_der.replace("CERTIFICATE", "PRIVATE KEY"), "cannot be used: create one of"),
        ("key.pem", other, "has the private key of another certificate: name the two files"),
    ];
    for (name, content, expected) in cases {
        pair.issued.write(pair.folder.path());
        pair.write(name, content);
        let (place, line) = if *name == "cert.pem" { ("cert", 2) } else { ("key", 3) };
        let said = pair.mistake();
        let start = format!("ci.toml:{line}: server.tls.{place}: the file `{name}` ");
        let rest = said.strip_prefix(&start).unwrap_or_else(|| panic!("{said}"));
        assert!(rest.starts_with(expected) || rest.contains(expected), "{said}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let pair = Pair::new();
    pair.write("cert.pem", vec![b'x'; 1_000_000]);
    assert!(pair.mistake().ends_with("`cert.pem`: it is larger than 65536 bytes"));
    pair.issued.write(pair.folder.path());
    std::fs::remove_file(pair.path("key.pem")).expect("removed");
    assert!(
        pair.mistake().contains("server.tls.key: cannot read the file `key.pem`: No such file")
    );
    std::fs::create_dir(pair.path("key.pem")).expect("a folder");
    assert!(pair.mistake().ends_with("`key.pem`: it is a directory"));
}

/// As `openssl req -x509`, `ecparam`, `pkey` and `rsa -traditional` wrote them; of no use elsewhere.
#[test]
fn keys_of_each_kind_are_read_and_encrypted_ones_are_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/pem");
    let read = |cert: &str, key: &str| {
        let path = |name: &str, kind: &str| folder.join(format!("{name}.{kind}.pem"));
        Tls::read(&path(cert, "cert"), &path(key, "key"))
    };
    for kind in ["rsa", "ec", "ed25519"] {
        let tls = read(kind, kind).unwrap_or_else(|(_, why)| panic!("{kind}: {why}"));
        assert!(tls.identity.is_authority(), "as openssl makes them: {kind}");
        assert_eq!(tls.identity.names(), [""; 0], "a common name is none: {kind}");
    }
    for (cert, key, said) in [
        ("ec", "encrypted", "decrypt it with `openssl pkey -in FILE -out NEW-FILE`"),
        ("rsa", "encrypted-traditional", "has an encrypted private key"),
        ("rsa-1024", "rsa-1024", "of RSA with 2048 to 4096 bits"),
        ("rsa", "ec", "has the private key of another certificate"),
    ] {
        let (part, why) = read(cert, key).expect_err("not usable");
        assert_eq!(part, Part::Key, "{key}: {why}");
        assert!(why.contains(said), "{key}: {why}");
    }
}

#[test]
fn a_certificate_that_ends_is_a_warning_of_the_configuration() {
    let pair = Pair::new();
    let now = Timestamp::now();
    for (days, expected) in
        [(100, None), (5, Some("expires in 4 days on ")), (-3, Some("expired on "))]
    {
        let issued = Authority::new().issue_for(&["ci.example.com"], days);
        issued.write(pair.folder.path());
        let Loaded { settings, warnings, .. } = good(&pair.text(), &[HOME]);
        let validity = settings.server.tls.expect("read").validity(now);
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{warnings:?}");
        assert!(
            warnings.iter().all(|said| said.contains(expected.unwrap_or_default())),
            "{warnings:?}"
        );
        match days {
            100 => assert!(matches!(validity, Validity::Good(_)), "{validity:?}"),
            5 => assert!(matches!(validity, Validity::Soon(_)), "{validity:?}"),
            _ => assert!(matches!(validity, Validity::Expired(_)), "{validity:?}"),
        }
    }
}

#[test]
fn any_text_is_refused_with_the_part_that_is_wrong() {
    use proptest::prelude::*;
    let issued = Issued::self_signed(&["ci"], false);
    let (cert, key) = (issued.cert.as_bytes(), issued.key.as_bytes());
    proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), at in 0..400_usize)| {
        let found = Identity::from_pem(&bytes, key).expect_err("no certificate");
        prop_assert_eq!(found.part(), Part::Certificate);
        prop_assert_eq!(Identity::from_pem(cert, &bytes).expect_err("no key").part(), Part::Key);
        // A piece of it replaced: either it is the same, or it is refused.
        for (text, part) in [(cert, Part::Certificate), (key, Part::Key)] {
            let mut other = text.to_vec();
            let from = at % other.len();
            let until = (from + bytes.len() % 40).min(other.len());
            other[from..until].copy_from_slice(&bytes[..until - from]);
            let read = match part {
                Part::Certificate => Identity::from_pem(&other, key),
                Part::Key => Identity::from_pem(cert, &other),
            };
            if let Err(flaw) = read {
                let said = flaw.to_string();
                prop_assert!(issued.secret_lines().iter().all(|line| !said.contains(line)));
            }
        }
    });
    let large = vec![b'\n'; 1_000_000];
    assert_eq!(Identity::from_pem(&large, key), Err(Flaw::NoCertificate));
    assert_eq!(Identity::from_pem(cert, &large), Err(Flaw::NoKey));
}

#[test]
fn the_file_of_the_key_is_checked_as_those_of_credentials() {
    let pair = Pair::new();
    let tls = good(&pair.text(), &[HOME]).settings.server.tls.expect("configured");
    assert_eq!(tls.key_file().key, "server.tls.key");
    assert_eq!(tls.key_file().path, Path::new(&pair.path("key.pem")));
}
