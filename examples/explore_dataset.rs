//! Looks at a dataset: shape, first rows, labels, counts, audit and two figures.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fer::data::{Audit, Dataset, EMOTIONS, Split};
use fer::{plot, write_file};

/// Looks at a dataset: shape, first rows, labels, counts, audit and two figures.
#[derive(Parser)]
struct Args {
    /// fer2013.csv (plain, .gz or .zst), icml_face_data.csv, train.csv or a folder of images.
    #[arg(long)]
    data: PathBuf,
    /// Keep these labels only.
    #[arg(long, value_delimiter = ',')]
    labels: Option<Vec<u8>>,
    /// The folder for audit.json and the figures.
    #[arg(long)]
    out: PathBuf,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let all = Dataset::open(&args.data)?;
    let data = match &args.labels {
        Some(labels) => all.select(labels)?,
        None => all,
    };
    println!("{} rows of {side}×{side} pixels\n\n{}", data.len(), data.first_rows(5), side = data.side());
    println!("labels in order of appearance: {:?}", data.label_order());

    let mut audit = data.audit();
    // Data without labels, or with too few of one, cannot be split.
    audit.split_leakage = data.split(Split::default()).ok().map(|subsets| subsets.leakage());
    print_audit(&audit);

    std::fs::create_dir_all(&args.out).map_err(|e| format!("{}: {e}", args.out.display()))?;
    write_file(args.out.join("audit.json"), serde_json::to_string_pretty(&audit)? + "\n")?;
    if let Some(labels) = data.labels() {
        let counts: Vec<(&str, u64)> =
            audit.classes.iter().map(|class| (class.name.as_str(), class.rows as u64)).collect();
        plot::class_counts(&counts)?.save(args.out.join("class_counts"))?;
        let labels: Vec<usize> = labels.iter().map(|&label| usize::from(label)).collect();
        plot::sample_grid(&labels, &EMOTIONS, |i| data.image(i))?.save(args.out.join("sample_grid"))?;
    }
    println!("\n{}", args.out.display());
    Ok(())
}

fn print_audit(audit: &Audit) {
    let source = &audit.source;
    println!("\n{}, md5 {}", source.name.as_deref().unwrap_or("an unknown file"), source.md5);
    print!("\n{:<14}{:>8}", "class", "rows");
    audit.usages.iter().for_each(|usage| print!("{:>13}", usage.usage));
    println!();
    for class in &audit.classes {
        print!("{} {:<12}{:>8}", class.label, class.name, class.rows);
        for usage in &audit.usages {
            let rows = usage.classes.iter().find(|c| c.label == class.label).map_or(0, |c| c.rows);
            print!("{rows:>13}");
        }
        println!();
    }
    print!("{:<14}{:>8}", "all", audit.rows);
    audit.usages.iter().for_each(|usage| print!("{:>13}", usage.rows));
    print!("\n{:<14}{:>8}", "constant", audit.constant_images);
    audit.usages.iter().for_each(|usage| print!("{:>13}", usage.constant_images));
    println!(
        "\n\n{} distinct images, {} redundant rows, {} groups of identical images with conflicting labels",
        audit.distinct_images, audit.redundant_rows, audit.conflicting_groups,
    );
    if let Some(leakage) = &audit.usage_leakage {
        println!(
            "official split: {} PublicTest and {} PrivateTest rows also occur in Training, {} PrivateTest rows in \
             Training or PublicTest",
            leakage.valid_in_train, leakage.test_in_train, leakage.test_in_train_or_valid,
        );
    }
    if let Some(leakage) = &audit.split_leakage {
        println!(
            "stratified tenth, seed 42: {} of {} validation rows also occur in its {} training rows",
            leakage.valid_in_train, leakage.valid, leakage.train,
        );
    }
}
