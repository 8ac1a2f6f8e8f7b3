//! Compares each crate's public face with `listing`, where it has a line an item, or writes it there:
//! `public-api-listing DOC_FOLDER [--write]`, of a folder with rustdoc's JSON.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use public_api::Builder;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let docs = args.next().ok_or("usage: public-api-listing DOC_FOLDER [--write]")?;
    let write = args.next().is_some_and(|arg| arg == "--write");
    let listing = Path::new(env!("CARGO_MANIFEST_DIR")).join("listing");
    let mut is_same = true;
    for entry in fs::read_dir(docs)? {
        let json = entry?.path();
        if json.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let api = Builder::from_rustdoc_json(&json)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build();
        let found = match api {
            Ok(api) => api.to_string(),
            Err(problem) => {
                println!("skipped: {} of this compiler cannot be read: {problem}", json.display());
                return Ok(ExitCode::SUCCESS);
            }
        };
        let name = json.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-");
        let file = listing.join(name + ".txt");
        let kept = fs::read_to_string(&file).unwrap_or_default();
        let [found_lines, kept_lines] = [&found, &kept].map(|text| text.lines().collect::<BTreeSet<_>>());
        kept_lines.difference(&found_lines).for_each(|line| println!("- {line}"));
        found_lines.difference(&kept_lines).for_each(|line| println!("+ {line}"));
        is_same &= found_lines == kept_lines;
        if write {
            fs::write(&file, &found)?;
        }
    }
    Ok(if is_same || write { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
