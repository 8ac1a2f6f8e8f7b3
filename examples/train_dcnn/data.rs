//! Reading, choosing and splitting the faces, and saying what there is, as the notebook does.

use fer::data::{Dataset, FerPlus, FerPlusTargets, Subsets};
use serde_json::Value;

use crate::Failure;
use crate::settings::Settings;

/// The faces of a run.
pub struct Faces {
    /// The chosen labels, in the order of the file.
    pub chosen: Dataset,
    pub subsets: Subsets,
    /// What became of the rows by FER+.
    pub ferplus: Option<Value>,
    /// Images of one grey value that were left out.
    pub constant: usize,
}

pub fn read(settings: &Settings) -> Result<Faces, Failure> {
    let all = match &settings.data {
        Some(path) => Dataset::open(path)?,
        None => Dataset::drawn(settings.drawn_faces, settings.train.seed),
    };
    let source = all.source();
    println!("{}, md5 {}", source.name.as_deref().unwrap_or(&source.path), source.md5);
    println!("{:?}\n\n{}", (all.len(), 3), all.first_rows(5));
    println!("labels in order of appearance: {:?}", all.label_order());
    for class in all.class_counts() {
        println!("{}  {:<9} {:>6}", class.label, class.name, class.rows);
    }
    println!("image side: {}\n", all.side());
    let (all, ferplus) = match &settings.ferplus {
        Some(path) => with_ferplus(&all, &FerPlus::open(path)?, settings.ferplus_targets)?,
        None => (all, None),
    };
    let (all, constant) = match settings.drop_constant {
        true => all.without_constant(),
        false => (all, 0),
    };
    if settings.drop_constant {
        println!("{constant} images of one grey value left out\n");
    }
    let chosen = all.select(&settings.labels)?;
    let (encoder, side) = (chosen.encoder(), chosen.side());
    println!("{:?} -> {:?}", (chosen.len(), 3), (chosen.len(), side, side, 1));
    let classes: Vec<String> =
        encoder.labels().iter().enumerate().map(|(class, label)| format!("{label}: {class}")).collect();
    println!("{{{}}}", classes.join(", "));
    let mut subsets = chosen.split(settings.split)?;
    // A tie has no right answer to be measured by.
    let measured = |subsets: &Subsets| subsets.valid.len() + subsets.test.as_ref().map_or(0, Dataset::len);
    let all = measured(&subsets);
    subsets.valid = subsets.valid.without_ties();
    subsets.test = subsets.test.map(|test| test.without_ties());
    match all - measured(&subsets) {
        0 => {}
        ties => println!("{ties} ties left out of validation and test"),
    }
    let test = subsets.test.as_ref().map_or(String::new(), |test| format!(", test {}", test.len()));
    println!("train {}, valid {}{test}", subsets.train.len(), subsets.valid.len());
    let leakage = subsets.leakage();
    print!("{} validation images also occur in training", leakage.valid_in_train);
    match &subsets.test {
        Some(_) => println!(", {} test images in training or validation", leakage.test_in_train_or_valid),
        None => println!(),
    }
    Ok(Faces { chosen, subsets, ferplus, constant })
}

/// The rows that FER+ leaves, with their labels or targets, and what became of all.
fn with_ferplus(
    all: &Dataset,
    votes: &FerPlus,
    targets: Option<FerPlusTargets>,
) -> Result<(Dataset, Option<Value>), Failure> {
    let (kept, counts) = match targets {
        Some(FerPlusTargets::Votes) => all.with_ferplus_votes(votes)?,
        Some(FerPlusTargets::Majority) => all.with_ferplus_majority(votes)?,
        None => {
            let (kept, counts) = all.with_ferplus(votes)?;
            println!(
                "FER+: {} labels confirmed, {} changed; dropped: {} ties, {} not a face, {} unknown, {} contempt\n",
                counts.confirmed,
                counts.relabelled,
                counts.ties,
                counts.not_a_face,
                counts.unknown,
                counts.contempt,
            );
            return Ok((kept, Some(serde_json::to_value(counts)?)));
        }
    };
    println!("FER+: {counts}\n");
    Ok((kept, Some(serde_json::to_value(counts)?)))
}
