//! What is known of the real data, read from the file that `FER2013_CSV` names.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::{env, error::Error, path::PathBuf, sync::OnceLock};

use fer_data::{Dataset, Duplicates, FerPlus, Leakage, Split, Usage};

/// The real data, read once; none, with a word on it, where there is none.
fn fer2013() -> Option<Dataset> {
    static DATA: OnceLock<Option<Dataset>> = OnceLock::new();
    let read = || {
        let path = env::var_os("FER2013_CSV")?;
        Some(Dataset::open(PathBuf::from(path)).expect("FER2013_CSV is read"))
    };
    let data = DATA.get_or_init(read).clone();
    if data.is_none() {
        println!("skipped: FER2013_CSV is not set");
    }
    data
}

fn counts(data: &Dataset) -> Vec<usize> {
    data.class_counts().iter().map(|class| class.rows).collect()
}

#[test]
fn the_file_is_recognised_and_its_rows_are_counted() {
    let Some(data) = fer2013() else { return };
    assert_eq!(data.source().md5, "f8428a1edbd21e88f42c73edd2a14f95");
    assert_eq!(data.source().name.as_deref(), Some("FER2013 (fer2013.csv)"));
    assert_eq!((data.len(), data.shape().width), (35_887, 48));
    assert_eq!(data.label_order(), [0, 2, 4, 6, 3, 5, 1]);
    assert_eq!(counts(&data), [4953, 547, 5121, 8989, 6077, 4002, 6198]);
    let by_usage = Usage::ALL.map(|usage| counts(&data.select_usage(usage).unwrap()));
    assert_eq!(by_usage[0], [3995, 436, 4097, 7215, 4830, 3171, 4965]);
    assert_eq!(by_usage[1], [467, 56, 496, 895, 653, 415, 607]);
    assert_eq!(by_usage[2], [491, 55, 528, 879, 594, 416, 626]);
    assert_eq!(data.select(&[3, 4, 6]).unwrap().len(), 21_264);
}

#[test]
fn the_audit_counts_duplicates_and_leakage() {
    let Some(data) = fer2013() else { return };
    let audit = data.audit();
    assert_eq!((audit.distinct_images, audit.redundant_rows), (34_034, 1_853));
    assert_eq!(audit.conflicting_groups, 57);
    assert_eq!(audit.constant_images, 12);
    let constant: Vec<usize> = audit.usages.iter().map(|usage| usage.constant_images).collect();
    assert_eq!(constant, [11, 1, 0]);
    let leakage = Leakage {
        train: 28_709,
        valid: 3_589,
        test: 3_589,
        valid_in_train: 280,
        test_in_train: 288,
        test_in_train_or_valid: 314,
    };
    assert_eq!(audit.usage_leakage, Some(leakage));
}

#[test]
fn the_notebooks_split_leaks_85_rows_that_the_policies_remove() -> Result<(), Box<dyn Error>> {
    let Some(data) = fer2013() else { return Ok(()) };
    let data = data.select(&[3, 4, 6])?;
    let split = Split::stratified(0.1).seed(42);
    let kept = data.split(split)?;
    assert_eq!(kept.leakage().valid_in_train, 85);
    assert_eq!(kept.valid.without_copies_in(&kept.train).len(), 2_127 - 85);

    let unleaked = data.split(split.duplicates(Duplicates::DropLeaked))?;
    assert_eq!(unleaked.valid.rows(), kept.valid.rows());
    assert_eq!(unleaked.leakage().valid_in_train, 0);
    assert!(unleaked.train.len() < kept.train.len());

    let distinct = data.split(split.duplicates(Duplicates::Drop))?;
    assert_eq!(distinct.leakage().valid_in_train, 0);
    assert_eq!(distinct.train.len() + distinct.valid.len(), data.drop_duplicates().len());
    Ok(())
}

#[test]
fn the_votes_of_ferplus_are_joined_row_by_row() -> Result<(), Box<dyn Error>> {
    let Some(data) = fer2013() else { return Ok(()) };
    let Some(votes) = env::var_os("FERPLUS_CSV") else {
        println!("skipped: FERPLUS_CSV is not set");
        return Ok(());
    };
    let (labelled, counts) = data.with_ferplus(&FerPlus::open(PathBuf::from(votes))?)?;
    assert_eq!(counts.not_a_face, 177);
    assert_eq!(labelled.len(), counts.confirmed + counts.relabelled);
    let dropped = counts.ties + counts.not_a_face + counts.unknown + counts.contempt;
    assert_eq!(labelled.len() + dropped, 35_887);
    Ok(())
}
