//! The flags that say how faces are found and judged.

use std::path::PathBuf;

use clap::Args;
use fer::Recognizer;
use fer::detect::{Detector, DetectorConfig};
use fer::model::{Classifier, Views};

use crate::failure::Failure;

/// How faces are found and judged.
#[derive(Args, Debug)]
pub struct ModelArgs {
    /// A folder with model.safetensors and model.toml, as `fer train` writes it [default: the model in the program].
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Look at each face also mirrored: slower, a little better.
    #[arg(long)]
    pub mirror: bool,
    /// The least score of a face, 0 to 1 [default: 0.7].
    #[arg(long, value_name = "SCORE")]
    pub threshold: Option<f32>,
    /// Leave out faces of fewer pixels across or down.
    #[arg(long, value_name = "PIXELS", default_value_t = 0.0)]
    pub least_face: f32,
    /// Bring larger pictures down to this longer side before faces are looked for; 1280 finds small ones in crowds.
    #[arg(long, value_name = "PIXELS", default_value_t = 640)]
    pub size_limit: u32,
    /// Find faces tilted by 30° and more too: three times the work.
    #[arg(long)]
    pub tilted: bool,
    /// Threads [default: one a core].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

impl ModelArgs {
    /// What was asked for, on as many threads.
    pub fn recognizer(&self) -> Result<Recognizer, Failure> {
        Ok(Recognizer::new(self.detector()?, self.classifier()?))
    }

    pub fn detector(&self) -> Result<Detector, Failure> {
        let Self { threshold, least_face, size_limit, tilted, .. } = *self;
        let config = DetectorConfig { threshold, least_face, size_limit, tilted, ..Default::default() };
        Ok(Detector::with(config)?)
    }

    pub fn classifier(&self) -> Result<Classifier, Failure> {
        let classifier = match &self.model {
            Some(folder) => Classifier::open(folder)?,
            None => Classifier::pretrained()?,
        };
        Ok(classifier.views(Views { mirror: self.mirror, shift: 0 }))
    }

    /// Starts the threads; called once.
    pub fn start_threads(&self) -> Result<(), Failure> {
        Ok(fer::command::start_threads(self.threads)?)
    }
}

/// A number of seconds, at least 0, of a flag.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..f64::INFINITY).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds, at least 0".into()),
    }
}
