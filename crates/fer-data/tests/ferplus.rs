//! The votes of FER+ joined to faces.

use std::{fs, path::PathBuf};

use fer_data::{Dataset, FerPlus, FerPlusCounts};

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
