//! The notebook from end to end, or another recipe: reads the faces, trains the network, reports and draws.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

mod args;
mod data;
mod report;
mod run_folder;
mod settings;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_nn::VarMap;
use clap::Parser;
use fer::DeviceLoader;
use fer::augment::Augment;
use fer::data::{Loader, LoaderConfig};
use fer::model::{Input, ModelConfig};
use fer::train::{
    Callback, CsvLogger, EarlyStopping, Ended, ModelCheckpoint, MonitorMode, Progress, ReduceLrOnPlateau,
    TensorBoard, Trainer,
};

use args::Args;
use run_folder::{Record, RunFolder};
use settings::Settings;

/// Whatever ends the program, to be shown to a person.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(stderr)
        .without_time()
        .with_target(false)
        .init();
    match run(&Args::parse()) {
        Ok(status) => status,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    let device = fer::nn::device(&args.device)?;
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = args.threads {
        pool = pool.num_threads(threads);
    }
    pool.build_global()?;

    let (folder, settings, recorded) = if args.resume {
        let (folder, record) = RunFolder::open(&args.out)?;
        (folder, record.settings.resumed(args)?, Some((record.source, record.ferplus)))
    } else {
        let settings = Settings::of(args)?;
        (RunFolder::new(&args.out, args.overwrite)?, settings, None)
    };
    settings.compute.check(&device)?;
    eprintln!("device: {}", fer::nn::device_name(&device));

    let faces = data::read(&settings)?;
    let source = faces.chosen.source().clone();
    if let Some((recorded, ferplus)) = recorded {
        let (found, expected) = (&source.md5, &recorded.md5);
        if found != expected {
            return Err(format!("{}: md5 is {found}, the run to resume used {expected}", source.path).into());
        }
        if ferplus != faces.ferplus {
            return Err("FER+: the run to resume used other votes".into());
        }
    }
    let mut record = Record {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        source,
        split: faces.subsets.leakage(),
        ferplus: faces.ferplus.clone(),
        constant: faces.constant,
        device: fer::nn::device_name(&device),
        threads: rayon::current_num_threads(),
        result: None,
        settings,
    };
    if !args.resume {
        folder.clear()?;
    }
    folder.write_record(&record)?;
    faces.subsets.write_csv(folder.join("split.csv"))?;

    let settings = &record.settings;
    let names = faces.chosen.encoder().names().into_iter().map(String::from).collect();
    let model = ModelConfig::new(settings.model.clone(), Input::grey(faces.chosen.side()), names)?
        .preprocessed(settings.preprocessing)?;
    let weights = VarMap::new();
    let seed = settings.train.seed;
    let network = model.network(fer::nn::var_builder(&weights, seed, &device))?.compute(settings.compute);
    println!("\n{}", model.summary()?);

    let (batch_size, drop_last) = (settings.batch_size, settings.drop_last);
    let loader = LoaderConfig { batch_size, drop_last, seed, ..Default::default() };
    let unshuffled = LoaderConfig { shuffle: false, drop_last: false, ..loader };
    let train = Loader::new(faces.subsets.train.clone(), loader)?;
    let valid = Loader::new(faces.subsets.valid.clone(), unshuffled)?;
    println!(
        "Train for {} steps an epoch, at most {} epochs, seed {seed}; validate on {} samples",
        train.batches(),
        settings.train.epochs,
        faces.subsets.valid.len(),
    );
    let augment = Augment::new(settings.augment.clone())?;
    let (mean, deviation) = (settings.preprocessing.mean, settings.preprocessing.deviation);
    let mut train = DeviceLoader::new(train, device.clone()).augmented(augment).standardized(mean, deviation);
    if let Some(mixup) = settings.mixup {
        train = train.mixed(mixup);
    }
    let valid = DeviceLoader::new(valid, device).standardized(mean, deviation);

    // The notebook's two, in its order; the others watch.
    let mut early_stopping = EarlyStopping::new(settings.early_stopping.clone());
    let mut reduce_lr = ReduceLrOnPlateau::new(settings.reduce_lr.clone())?;
    let mut best =
        ModelCheckpoint::best(folder.join("checkpoint/best.safetensors"), "val_accuracy", MonitorMode::Max);
    let mut csv = CsvLogger::new(folder.join("history.csv"));
    let mut tensorboard = TensorBoard::new(folder.join("tensorboard"));
    let mut progress =
        if stderr().is_terminal() { Progress::bars(stderr()) } else { Progress::lines(stderr()) };
    let callbacks: &mut [&mut dyn Callback] =
        &mut [&mut early_stopping, &mut reduce_lr, &mut best, &mut csv, &mut tensorboard, &mut progress];

    let outcome = Trainer::new(settings.train.clone())?
        .checkpoint(folder.join("checkpoint/state.safetensors"))
        .resume(args.resume)
        .interrupt(interrupt_flag()?)
        .fit(&network, &weights, &train, Some(&valid), callbacks)?;
    if let Ended::Interrupted { epoch, steps } = outcome.ended {
        let out = args.out.display();
        eprintln!("\ninterrupted in epoch {epoch} after {steps} steps; everything is saved");
        eprintln!("go on with: cargo run --release --example train_dcnn -- --resume --out {out}");
        return Ok(ExitCode::from(130));
    }

    fer::model::save(folder.path(), &model, &weights)?;
    record.result = Some(report::write(&folder, &faces, &outcome.history, settings.views)?);
    folder.write_record(&record)?;
    Ok(ExitCode::SUCCESS)
}

/// Set by Ctrl-C; a second Ctrl-C ends the program at once.
fn interrupt_flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nfinishing the batch …");
    })?;
    Ok(flag)
}
