//! Looks at a dataset.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fer_data::{Audit, Dataset, Split, UsageAudit};

use crate::command::ReadArgs;
use crate::{Error, Result, write_file};

/// Looks at a dataset: shape, first rows, labels, counts, audit and two figures.
#[derive(Debug, Parser)]
pub struct Args {
    /// fer2013.csv (plain, .gz, .zst or in an archive), icml_face_data.csv, train.csv or a folder of images.
    #[arg(long)]
    pub data: PathBuf,
    /// How it is read.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Keep these labels only.
    #[arg(long, value_delimiter = ',')]
    pub labels: Option<Vec<u32>>,
    /// The folder for audit.json and the figures.
    #[arg(long)]
    pub out: PathBuf,
}

/// Writes the audit and the figures, and says what there is.
///
/// # Errors
/// When the data cannot be read or holds none of the labels, or a file cannot be written; what `out` says.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let all = Dataset::open_with(&args.data, &args.read.config())?;
    let data = match &args.labels {
        Some(labels) => all.select(labels)?,
        None => all,
    };
    let mut audit = data.audit();
    // Data without labels, or with too few of one, cannot be split.
    audit.split_leakage = data.split(Split::default()).ok().map(|subsets| subsets.leakage());

    let path = args.out.join("audit.json");
    match serde_json::to_string_pretty(&audit) {
        Ok(text) => write_file(path, text + "\n")?,
        Err(e) => return Err(Error::Format { path, reason: e.to_string() }),
    }
    if let Some(labels) = data.labels() {
        let counts: Vec<(&str, u64)> =
            audit.classes.iter().map(|class| (class.name.as_str(), class.rows as u64)).collect();
        fer_plot::class_counts(&counts)?.save(args.out.join("class_counts"))?;
        let labels: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
        let names: Vec<&str> = data.encoder().vocabulary().names().iter().map(String::as_str).collect();
        fer_plot::sample_grid(&labels, &names, |i| data.image(i))?.save(args.out.join("sample_grid"))?;
    }

    writeln!(out, "{} rows of {} images\n\n{}", data.len(), data.shape(), data.first_rows(5))?;
    writeln!(out, "labels in order of appearance: {:?}", data.label_order())?;
    tell(&audit, out)?;
    writeln!(out, "\n{}", args.out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// The counts, a line a class and a column a usage; copies, conflicts and leakage.
fn tell(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let source = &audit.source;
    writeln!(out, "\n{}, md5 {}\n", source.name.as_deref().unwrap_or("an unknown file"), source.md5)?;
    let mut line = |name: &str, rows: String, of_usages: Vec<String>| {
        let usages: String = of_usages.iter().map(|text| format!("{text:>13}")).collect();
        writeln!(out, "{name:<14}{rows:>8}{usages}")
    };
    let of_usages = |count: &dyn Fn(&UsageAudit) -> usize| -> Vec<String> {
        audit.usages.iter().map(|usage| count(usage).to_string()).collect()
    };
    let names = audit.usages.iter().map(|usage| usage.usage.to_string()).collect();
    line("class", "rows".to_owned(), names)?;
    for class in &audit.classes {
        let of_class =
            |usage: &UsageAudit| usage.classes.iter().find(|c| c.label == class.label).map_or(0, |c| c.rows);
        line(&format!("{} {}", class.label, class.name), class.rows.to_string(), of_usages(&of_class))?;
    }
    line("all", audit.rows.to_string(), of_usages(&|usage| usage.rows))?;
    line("constant", audit.constant_images.to_string(), of_usages(&|usage| usage.constant_images))?;
    writeln!(
        out,
        "\n{} distinct images, {} redundant rows, {} groups of identical images with conflicting labels",
        audit.distinct_images, audit.redundant_rows, audit.conflicting_groups,
    )?;
    if let Some(leakage) = &audit.usage_leakage {
        writeln!(
            out,
            "official split: {} PublicTest and {} PrivateTest rows also occur in Training, {} PrivateTest rows in \
             Training or PublicTest",
            leakage.valid_in_train, leakage.test_in_train, leakage.test_in_train_or_valid,
        )?;
    }
    if let Some(leakage) = &audit.split_leakage {
        writeln!(
            out,
            "stratified tenth, seed 42: {} of {} validation rows also occur in its {} training rows",
            leakage.valid_in_train, leakage.valid, leakage.train,
        )?;
    }
    Ok(())
}
