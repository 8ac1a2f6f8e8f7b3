//! Reading, choosing and splitting the faces, and saying what there is, as the notebook does.

use fer::data::{Dataset, FerPlus, FerPlusCounts, Subsets};

use crate::Failure;
use crate::settings::Settings;

/// The faces of a run.
pub struct Faces {
    /// The chosen labels, in the order of the file.
    pub chosen: Dataset,
    pub subsets: Subsets,
    pub ferplus: Option<FerPlusCounts>,
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
        Some(path) => {
            let (relabelled, counts) = all.with_ferplus(&FerPlus::open(path)?)?;
            println!(
                "FER+: {} labels confirmed, {} changed; dropped: {} ties, {} not a face, {} unknown, {} contempt\n",
                counts.confirmed,
                counts.relabelled,
                counts.ties,
                counts.not_a_face,
                counts.unknown,
                counts.contempt,
            );
            (relabelled, Some(counts))
        }
        None => (all, None),
    };
    let chosen = all.select(&settings.labels)?;
    let (encoder, side) = (chosen.encoder(), chosen.side());
    println!("{:?} -> {:?}", (chosen.len(), 3), (chosen.len(), side, side, 1));
    let classes: Vec<String> =
        encoder.labels().iter().enumerate().map(|(class, label)| format!("{label}: {class}")).collect();
    println!("{{{}}}", classes.join(", "));
    let subsets = chosen.split(settings.split)?;
    let test = subsets.test.as_ref().map_or(String::new(), |test| format!(", test {}", test.len()));
    println!("train {}, valid {}{test}", subsets.train.len(), subsets.valid.len());
    let leakage = subsets.leakage();
    print!("{} validation images also occur in training", leakage.valid_in_train);
    match &subsets.test {
        Some(_) => println!(", {} test images in training or validation", leakage.test_in_train_or_valid),
        None => println!(),
    }
    Ok(Faces { chosen, subsets, ferplus })
}
