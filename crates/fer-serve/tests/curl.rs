//! The lines for `curl` in docs/service.md do what stands below them.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::path::Path;
use std::process::Command;

use fer_serve::fer::Recognizer;
use fer_serve::{About, ServeConfig, Server};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/service.md");
/// How far numbers may be from those of the machine that the document was written on.
const TOLERANCE: f64 = 0.02;

/// Whether `answer` has all that the document shows; of a list it may show the first.
fn shows(document: &Value, answer: &Value) -> bool {
    match (document, answer) {
        (Value::Object(shown), Value::Object(given)) => {
            shown.iter().all(|(key, value)| given.get(key).is_some_and(|given| shows(value, given)))
        }
        (Value::Array(shown), Value::Array(given)) => {
            shown.len() <= given.len() && shown.iter().zip(given).all(|(value, given)| shows(value, given))
        }
        (Value::Number(shown), Value::Number(given)) => {
            let (shown, given) = (shown.as_f64().unwrap(), given.as_f64().unwrap());
            (shown - given).abs() <= TOLERANCE * shown.abs().max(1.0)
        }
        (shown, given) => shown == given,
    }
}

/// The first block of a language, and what follows it.
fn block<'a>(text: &'a str, language: &str) -> Option<(&'a str, &'a str)> {
    let (_, after) = text.split_once(&format!("```{language}\n"))?;
    after.split_once("```")
}

#[test]
fn the_lines_for_curl_do_what_stands_below_them() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    let config = ServeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..ServeConfig::default() };
    let server = Server::start(
        Recognizer::pretrained().unwrap(),
        &About { name: "fer-weights".into(), card: None },
        &config,
    )
    .unwrap();
    let (mut rest, mut lines, mut answers) = (DOCUMENT, 0, 0);
    while let Some((commands, after)) = block(rest, "sh") {
        for line in commands.lines().filter(|line| line.starts_with("curl ")) {
            let line = line
                .replace("localhost:7878", &format!("localhost:{}", server.address().port()))
                .replace(
                    "photo.jpg",
                    &root.join("crates/fer-detect/tests/photos/astronaut.png").to_string_lossy(),
                )
                .replace(
                    "other.jpg",
                    &root.join("crates/fer-detect/tests/photos/rocket.jpg").to_string_lossy(),
                );
            let ran = Command::new("sh").args(["-c", &line]).current_dir(&folder).output().unwrap();
            assert!(ran.status.success(), "{line}: {ran:?}");
            lines += 1;
            // What the document shows right below.
            let Some((shown, _)) = block(after, "json").filter(|_| after.trim_start().starts_with("```json"))
            else {
                continue;
            };
            let (shown, answer): (Value, Value) =
                (serde_json::from_str(shown).unwrap(), serde_json::from_slice(&ran.stdout).unwrap());
            assert!(shows(&shown, &answer), "{line}: {answer}");
            answers += 1;
        }
        rest = after;
    }
    assert!(lines >= 6 && answers >= 4, "{lines} lines and {answers} answers");
}
