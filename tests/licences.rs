//! Every dependency may be used under MIT, Apache-2.0, BSD or an equally permissive licence.

use std::process::Command;

use serde_json::Value;

/// The licences that `deny.toml` allows.
fn allowed() -> Vec<String> {
    let deny: toml::Table = include_str!("../deny.toml").parse().unwrap();
    deny["licenses"]["allow"].clone().try_into().unwrap()
}

/// Whether an SPDX expression can be met by allowed licences: some alternative, each of its parts.
fn is_allowed(expression: &str) -> bool {
    let allowed = allowed();
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    // In every expression that occurs AND joins whole alternatives: `A AND (B OR C)` needs A, and B or C.
    expression
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|licence| allowed.iter().any(|known| known == licence.trim())))
}

#[test]
fn every_dependency_has_a_permissive_licence() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "{} packages", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(is_allowed))
        .map(|package| format!("{} {}", package["name"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn an_alternative_is_enough_and_a_conjunction_needs_all() {
    assert!(is_allowed("GPL-3.0 OR MIT"));
    assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!is_allowed("MIT AND GPL-3.0"));
    assert!(!is_allowed("MPL-2.0"));
}
