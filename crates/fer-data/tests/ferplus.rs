//! The votes of FER+ joined to faces.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::{env, error::Error, fs, path::PathBuf};

use fer_data::{
    Dataset, EMOTIONS, FERPLUS_EMOTIONS, FerPlus, FerPlusCounts, FerPlusVoteCounts, Split, Stratify, Subsets,
    Usage,
};
use ndarray::arr2;

const HEADER: &str =
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n";

fn write(folder: &tempfile::TempDir, name: &str, text: String) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn faces(folder: &tempfile::TempDir) -> Dataset {
    let rows: String = [3, 4, 6, 0, 1, 2].map(|label| format!("{label},{label},Training\n")).concat();
    Dataset::open(write(folder, "fer2013.csv", format!("emotion,pixels,Usage\n{rows}"))).unwrap()
}

#[test]
fn majorities_become_labels_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "Training,a.png,1,9,0,0,0,0,0,0,0,0\nTraining,b.png,7,0,0,3,0,0,0,0,0,0\n\
                Training,,0,0,0,0,0,0,0,0,0,10\nTraining,c.png,0,0,0,5,5,0,0,0,0,0\n\
                Training,d.png,1,1,0,0,0,0,0,8,0,0\nTraining,e.png,0,1,0,0,0,0,1,0,8,0\n";
    let votes = FerPlus::open(write(&folder, "votes.csv", format!("{HEADER}{rows}"))).unwrap();
    let (data, counts) = faces(&folder).with_ferplus(&votes).unwrap();
    assert_eq!((data.rows(), data.labels()), (&[0, 1][..], Some(&[3, 6][..])));
    assert_eq!(data.encoder().names(), ["happy", "neutral"]);
    let expected =
        FerPlusCounts { confirmed: 1, relabelled: 1, ties: 1, not_a_face: 1, unknown: 1, contempt: 1 };
    assert_eq!(counts, expected);
    let distribution = votes.votes(1).unwrap().distribution().unwrap();
    assert_eq!(distribution, [0.0, 0.0, 0.0, 0.0, 0.3, 0.0, 0.7]);
    assert!(votes.votes(6).is_none() && votes.votes(2).unwrap().distribution().is_none());
}

#[test]
fn votes_of_other_rows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let row = "Training,,1,0,0,0,0,0,0,0,0,0\n";
    let error = |rows: &str| {
        let path = write(&folder, "votes.csv", format!("{HEADER}{rows}"));
        let joined = FerPlus::open(path).and_then(|votes| faces(&folder).with_ferplus(&votes));
        joined.unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(error(row), "votes.csv: 1 rows of votes for the 6 of fer2013.csv");
    assert_eq!(
        error(&format!("{row}{}{}", row.replace("Training", "PublicTest"), row.repeat(4))),
        "votes.csv: line 3: Usage is `PublicTest`; allowed: Training, as row 1 of the images"
    );
    assert_eq!(
        error(&row.replace(",1,", ",x,")),
        "votes.csv: line 2: neutral is `x`; allowed: a number of votes, 0 to 255"
    );
    assert_eq!(error("Training,1\n"), "votes.csv: line 2: 2 fields; allowed: 12, as in the header");
}

/// Eight faces, and votes with one row of each kind in the order of the header: neutral, happiness, surprise,
/// sadness, anger, disgust, fear, contempt, unknown, NF.
fn voted(folder: &tempfile::TempDir) -> (Dataset, FerPlus) {
    let faces: String = (0..8).map(|grey| format!("0,{grey},Training\n")).collect();
    let faces = write(folder, "fer2013.csv", format!("emotion,pixels,Usage\n{faces}"));
    let votes = [
        "1,6,0,0,0,0,0,0,2,1", // Happiness alone once single votes are gone.
        "3,0,0,2,0,0,0,5,0,0", // Contempt, with neutral and sadness.
        "2,0,0,0,4,0,0,0,4,0", // Anger and unknown: an emotion comes first.
        "4,0,0,4,0,0,0,0,0,2", // Neutral and sadness.
        "0,2,0,0,0,0,0,0,3,3", // Unknown before NF.
        "1,0,1,0,0,0,0,0,1,7", // NF.
        "1,1,1,1,1,1,1,1,1,1", // Single votes and nothing else.
        "0,0,2,0,0,0,6,0,0,0", // Fear, with surprise.
    ];
    let votes: String = votes.iter().map(|votes| format!("Training,,{votes}\n")).collect();
    let votes = write(folder, "votes.csv", format!("{HEADER}{votes}"));
    (Dataset::open(faces).unwrap(), FerPlus::open(votes).unwrap())
}

#[test]
fn votes_become_shares_and_every_dropped_row_has_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (faces, votes) = voted(&folder);
    let (data, counts) = faces.with_ferplus_votes(&votes).unwrap();
    let expected = FerPlusVoteCounts {
        single_winner: 3,
        ties: 2,
        unknown: 1,
        not_a_face: 1,
        no_votes: 1,
        outliers: 2 + 3 + 10,
    };
    assert_eq!(counts, expected);
    assert_eq!(data.rows(), [0, 1, 2, 3, 7]);
    // Of tied emotions the first in the order of the classes.
    assert_eq!(data.labels(), Some(&[3, 7, 0, 4, 2][..]));
    assert_eq!(data.encoder().names(), FERPLUS_EMOTIONS);
    let third = 2.0 / 6.0;
    let expected = arr2(&[
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.3, 0.5],
        [4.0 / 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, third, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.5, 0.0],
        [0.0, 0.0, 0.75, 0.0, 0.0, 0.25, 0.0, 0.0],
    ]);
    assert_eq!(data.targets(), expected);
    assert_eq!((0..6).map(|i| data.is_tie(i)).collect::<Vec<_>>(), [false, false, true, true, false, false]);
    assert_eq!(data.without_ties().rows(), [0, 1, 7]);
    assert_eq!(data.without_ties().encoder().names(), FERPLUS_EMOTIONS);
}

#[test]
fn the_majority_of_eight_is_one_hot_and_that_of_seven_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (faces, votes) = voted(&folder);
    let (data, counts) = faces.with_ferplus_majority(&votes).unwrap();
    assert_eq!((counts.single_winner, counts.ties), (3, 2));
    assert_eq!((data.rows(), data.labels()), (&[0, 1, 7][..], Some(&[3, 7, 2][..])));
    assert!(!data.has_votes());
    for (target, label) in data.targets().rows().into_iter().zip([3, 7, 2]) {
        assert_eq!(target.to_vec(), Vec::from_iter((0..8).map(|class| f32::from(u8::from(class == label)))));
    }
    // Joined anew, nothing of the other votes is left.
    let (voted, _) = faces.with_ferplus_votes(&votes).unwrap();
    let (seven, _) = voted.with_ferplus(&votes).unwrap();
    assert_eq!((seven.rows(), seven.encoder().names()), (&[0, 7][..], vec!["fear", "happy"]));
    assert_eq!(seven.targets(), arr2(&[[0.0, 1.0], [1.0, 0.0]]));
    assert!(seven.encoder().vocabulary().names() == EMOTIONS && !seven.has_votes());
}

#[test]
fn shares_follow_their_rows_through_every_choice() {
    let folder = tempfile::tempdir().unwrap();
    let (faces, votes) = voted(&folder);
    let (data, _) = faces.with_ferplus_votes(&votes).unwrap();
    let all = data.targets();
    assert_eq!(data.subset(&[4, 1, 1]).unwrap().targets(), all.select(ndarray::Axis(0), &[4, 1, 1]));
    assert_eq!(data.select_usage(Usage::Training).unwrap().drop_duplicates().targets(), all);

    // Of the classes that are chosen the shares are taken anew.
    let chosen = data.select(&[7, 6, 2]).unwrap();
    assert_eq!(chosen.encoder().names(), ["fear", "neutral", "contempt"]);
    assert_eq!((chosen.rows(), chosen.labels()), (&[1, 7][..], Some(&[7, 2][..])));
    assert_eq!(chosen.targets(), arr2(&[[0.0, 0.375, 0.625], [1.0, 0.0, 0.0]]));
    let error = data.select(&[8]).unwrap_err().to_string();
    assert_eq!(error, "label is 8; allowed: 0 to 7");

    let path = folder.path().join("split.csv");
    fs::write(&path, "row,subset\n7,valid\n3,train\n0,train\n").unwrap();
    let subsets = Subsets::read_csv(path, &data).unwrap();
    assert_eq!(subsets.train.targets(), all.select(ndarray::Axis(0), &[3, 0]));
    assert_eq!(subsets.valid.targets(), all.select(ndarray::Axis(0), &[4]));
    assert!(subsets.train.is_tie(0) && !subsets.train.is_tie(1));
}

/// The real data and its votes: the file that `FER2013_CSV` names, and `ferplus_fer2013new.csv` beside it.
#[test]
fn the_real_rows_are_those_of_the_recipe() -> Result<(), Box<dyn Error>> {
    let Some(faces) = env::var_os("FER2013_CSV").map(PathBuf::from) else {
        println!("skipped: FER2013_CSV is not set");
        return Ok(());
    };
    let votes = faces.with_file_name("ferplus_fer2013new.csv");
    if !votes.exists() {
        println!("skipped: no {} beside FER2013_CSV", votes.display());
        return Ok(());
    }
    let votes = FerPlus::open(votes)?;
    let (faces, constant) = Dataset::open(faces)?.without_constant();
    assert_eq!((faces.len(), constant), (35_887 - 12, 12));

    let (data, counts) = faces.with_ferplus_votes(&votes)?;
    assert_eq!((counts.single_winner, counts.ties), (26_940 + 3_396 + 3_376, 1_449 + 157 + 170));
    assert_eq!((counts.unknown, counts.not_a_face, counts.no_votes), (222, 177 - 12, 0));
    let subsets = data.split(Split::usage())?;
    assert_eq!(subsets.train.len(), 28_389);
    assert_eq!(subsets.train.without_ties().len(), 26_940);
    assert_eq!(subsets.valid.without_ties().len(), 3_396);
    let test = subsets.test.ok_or("no test rows")?.without_ties();
    assert_eq!(test.len(), 3_376);
    let (majority, _) = faces.with_ferplus_majority(&votes)?;
    assert_eq!(majority.select_usage(Usage::PrivateTest)?.rows(), test.rows());

    let targets = subsets.train.targets();
    assert_eq!(targets.dim(), (28_389, 8));
    for (target, &label) in targets.rows().into_iter().zip(subsets.train.labels().unwrap_or_default()) {
        assert!((target.sum() - 1.0).abs() < 1e-6);
        let largest = target.iter().copied().fold(0.0, f32::max);
        assert_eq!(target.iter().position(|share| *share == largest), Some(label as usize));
    }
    // The first row: 4 for neutral, 3 for anger, 2 for disgust, one for sadness.
    let first: [f32; 8] = [3.0 / 9.0, 2.0 / 9.0, 0.0, 0.0, 0.0, 0.0, 4.0 / 9.0, 0.0];
    assert_eq!(targets.row(0).to_vec(), first);
    // A stratified split has all eight classes on both sides.
    let subsets = data.split(Split::stratified(0.1).stratify(Stratify::Label))?;
    assert!(subsets.valid.class_counts().iter().all(|class| class.rows > 0));
    Ok(())
}
