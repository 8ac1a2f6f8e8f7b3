//! Reading, choosing and splitting the faces, and saying what there is, as the notebook does.

use std::io::Write;
use std::path::Path;

use fer_data::{Dataset, FerPlus, FerPlusTargets, Shape, Source, Subsets};
use serde_json::{Value, json};

use crate::run::settings::Settings;
use crate::{Error, Result};

/// The faces of a run.
#[derive(Clone, Debug)]
pub struct Faces {
    /// The chosen labels, in the order of the file.
    pub chosen: Dataset,
    /// Their split. Ties of FER+ are neither in validation nor in test.
    pub subsets: Subsets,
    /// What became of the rows by FER+.
    pub ferplus: Option<Value>,
    /// Images of one grey value that were left out.
    pub constant: usize,
}

impl Faces {
    /// Reads the faces that the settings name, and tells `out` what there is.
    ///
    /// # Errors
    /// When data or votes cannot be read, do not belong together, or have not what labels and split ask for; what
    /// `out` says.
    pub fn read(settings: &Settings, out: &mut dyn Write) -> Result<Self> {
        let all = match &settings.data {
            Some(path) => Dataset::open_with(path, &settings.read)?,
            None => Dataset::drawn(settings.drawn_faces, settings.train.seed),
        };
        describe(&all, out)?;
        let (all, ferplus) = match &settings.ferplus {
            Some(votes) => {
                let (kept, counts, words) = with_ferplus(&all, votes, settings.ferplus_targets)?;
                writeln!(out, "FER+: {words}\n")?;
                (kept, Some(counts))
            }
            None => (all, None),
        };
        let (all, constant) = match settings.drop_constant {
            true => all.without_constant(),
            false => (all, 0),
        };
        if settings.drop_constant {
            writeln!(out, "{constant} images of one grey value left out\n")?;
        }
        let labels = settings.chosen_labels();
        let chosen = match labels.is_empty() {
            true => all,
            false => all.select(&labels)?,
        };
        let (encoder, Shape { channels, height, width }) = (chosen.encoder(), chosen.shape());
        writeln!(out, "{:?} -> {:?}", (chosen.len(), 3), (chosen.len(), height, width, channels))?;
        let classes: Vec<String> =
            encoder.labels().iter().enumerate().map(|(class, label)| format!("{label}: {class}")).collect();
        writeln!(out, "{{{}}}", classes.join(", "))?;
        if let Some(weights) = &settings.train.loss.class_weights {
            if weights.len() != encoder.len() {
                return Err(Error::Settings(format!(
                    "train.loss.class_weights has {} values for {} classes",
                    weights.len(),
                    encoder.len()
                )));
            }
            let named = encoder.names().into_iter().zip(weights);
            let named: Vec<String> = named.map(|(name, weight)| format!("{name} {weight}")).collect();
            writeln!(out, "class weights: {}", named.join(", "))?;
        }
        let subsets = split(&chosen, settings, out)?;
        Ok(Self { chosen, subsets, ferplus, constant })
    }
}

/// The data's name, or else its path, and its md5.
pub(crate) fn title(source: &Source) -> String {
    format!("{}, md5 {}", source.name.as_deref().unwrap_or(&source.path), source.md5)
}

fn describe(data: &Dataset, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{}", title(data.source()))?;
    writeln!(out, "{:?}\n\n{}", (data.len(), 3), data.first_rows(5))?;
    writeln!(out, "labels in order of appearance: {:?}", data.label_order())?;
    for class in data.class_counts() {
        writeln!(out, "{}  {:<9} {:>6}", class.label, class.name, class.rows)?;
    }
    Ok(writeln!(out, "images: {}\n", data.shape())?)
}

fn split(chosen: &Dataset, settings: &Settings, out: &mut dyn Write) -> Result<Subsets> {
    let mut subsets = chosen.split(settings.split)?;
    // A tie has no right answer to be measured by.
    let measured = |subsets: &Subsets| subsets.valid.len() + subsets.test.as_ref().map_or(0, Dataset::len);
    let all = measured(&subsets);
    subsets.valid = subsets.valid.without_ties();
    subsets.test = subsets.test.map(|test| test.without_ties());
    match all - measured(&subsets) {
        0 => {}
        ties => writeln!(out, "{ties} ties left out of validation and test")?,
    }
    let test = subsets.test.as_ref().map_or(String::new(), |test| format!(", test {}", test.len()));
    writeln!(out, "train {}, valid {}{test}", subsets.train.len(), subsets.valid.len())?;
    let leakage = subsets.leakage();
    write!(out, "{} validation images also occur in training", leakage.valid_in_train)?;
    match &subsets.test {
        Some(_) => {
            writeln!(out, ", {} test images in training or validation", leakage.test_in_train_or_valid)?
        }
        None => writeln!(out)?,
    }
    Ok(subsets)
}

/// The rows that FER+ leaves, with their labels or targets; what became of all, in numbers and in words.
pub(crate) fn with_ferplus(
    all: &Dataset,
    votes: &Path,
    targets: Option<FerPlusTargets>,
) -> Result<(Dataset, Value, String)> {
    let ferplus = FerPlus::open(votes)?;
    let (kept, counts) = match targets {
        Some(FerPlusTargets::Votes) => all.with_ferplus_votes(&ferplus)?,
        Some(FerPlusTargets::Majority) => all.with_ferplus_majority(&ferplus)?,
        None => {
            let (kept, counts) = all.with_ferplus(&ferplus)?;
            let words = format!(
                "{} labels confirmed, {} changed; dropped: {} ties, {} not a face, {} unknown, {} contempt",
                counts.confirmed,
                counts.relabelled,
                counts.ties,
                counts.not_a_face,
                counts.unknown,
                counts.contempt,
            );
            return Ok((kept, json!(counts), words));
        }
    };
    Ok((kept, json!(counts), counts.to_string()))
}
