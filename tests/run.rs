//! A run as a program of one's own makes it.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

use fer::Error;
use fer::model::{BlockConfig, DcnnConfig};
use fer::run::{Run, RunEnd, RunFolder, Settings};
use fer::train::TrainConfig;

/// Takes nothing.
struct Refusing(ErrorKind);

impl Write for Refusing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings() -> Settings {
    let block = BlockConfig { filters: 2, kernel: 3, dropout: 0.1 };
    Settings {
        drawn_faces: 160,
        model: DcnnConfig { blocks: vec![block; 2], dense_units: 4, ..Default::default() }.into(),
        train: TrainConfig { epochs: 1, ..Default::default() },
        ..Settings::default()
    }
}

fn run(folder: &Path) -> Run {
    Run::new(RunFolder::new(folder, false).unwrap(), settings())
}

#[test]
fn a_run_is_written_whoever_listens_and_resumed_with_its_own_settings() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let end = run(&folder).train(&mut [], &mut Refusing(ErrorKind::BrokenPipe)).unwrap();
    let RunEnd::Finished(result) = end else { panic!("{end:?}") };
    let (_, record) = RunFolder::open(&folder).unwrap();
    // What was left to the defaults is written down.
    let settings = Settings { labels: Some(vec![3, 4, 6]), ..settings() };
    assert_eq!((record.result.as_ref(), record.settings), (Some(&result), settings));
    assert!(folder.join("sample_predictions.png").exists());
    assert!(matches!(RunFolder::new(&folder, false), Err(Error::Held { file: "run.json", .. })));

    // More epochs are no other settings, larger batches are.
    let mut longer = Run::resume(&folder).unwrap();
    longer.settings.train.epochs = 2;
    let end = longer.train(&mut [], &mut Refusing(ErrorKind::StorageFull));
    assert!(matches!(end, Err(Error::Output(_))), "{end:?}");
    assert_eq!(RunFolder::open(&folder).unwrap().1.result.unwrap().epochs, 2);
    let mut other = Run::resume(&folder).unwrap();
    other.settings.batch_size = 8;
    assert!(matches!(other.train(&mut [], &mut io::sink()), Err(Error::Settings(_))));

    // What later versions added is not in the records of earlier ones.
    let text = fs::read_to_string(folder.join("run.json")).unwrap();
    let mut older: serde_json::Value = serde_json::from_str(&text).unwrap();
    older.as_object_mut().unwrap().remove("constant");
    for name in
        ["ferplus_targets", "drop_constant", "drop_last", "mixup", "preprocessing", "views", "compute"]
    {
        older["settings"].as_object_mut().unwrap().remove(name).unwrap();
    }
    fs::write(folder.join("run.json"), older.to_string()).unwrap();
    assert_eq!(RunFolder::open(&folder).unwrap().1.settings, longer.settings);
}

#[test]
fn a_record_that_no_run_has_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.json"), r#"{"version": "0.1.0", "settings": {"rota\u001b[31m": 1}}"#)
        .unwrap();
    let error = RunFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("run.json: unknown field `rota\\u{1b}[31m`"), "{error}");
}

#[test]
fn an_interruption_before_the_training_leaves_the_folder_as_it_was() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("history.csv"), "earlier").unwrap();
    let run = Run::new(RunFolder::new(temporary.path(), true).unwrap(), settings());
    run.interrupt.store(true, Ordering::Relaxed);
    assert_eq!(run.train(&mut [], &mut io::sink()).unwrap(), RunEnd::NotBegun);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(temporary.path().join("history.csv")).unwrap(), "earlier");
}
