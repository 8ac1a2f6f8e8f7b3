//! The libraries from one end to the other, each step with what must come of it: a network with a layer and a head of one's
//! own, trained, interrupted, resumed, measured and drawn; a classifier embedded in a program and shared between threads.
//!
//! `cargo run --example tour`
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use candle_nn::{Linear, Module, VarMap};
use fer::DeviceLoader;
use fer::data::{Dataset, Loader, LoaderConfig, Split};
use fer::metrics::{ConfusionMatrix, predicted_labels, roc_auc};
use fer::model::{Classifier, Input, Preprocessing, to_grey};
use fer::nn::{
    Activation, BatchNormConfig, Conv2dConfig, Flatten, Layer, MaxPool2d, Mode, Network, Sequential, Step,
    batch_norm, conv2d, var_builder,
};
use fer::train::{BatchLog, Batches, Callback, Checkpoint, Ended, OptimizerConfig, TrainConfig, Trainer};
use ndarray::Array2;

const SHIPPED: &str = "crates/fer-weights/weights";
const MODEL_TOML: &str = include_str!("../crates/fer-weights/weights/model.toml");
const MODEL_SAFETENSORS: &[u8] = include_bytes!("../crates/fer-weights/weights/model.safetensors");

/// The face and its mirror image, averaged: an expression is the same in both.
#[derive(Debug)]
struct Symmetric;

impl Layer for Symmetric {
    fn forward(&self, xs: &Tensor, _mode: Mode) -> candle_core::Result<Tensor> {
        (xs + xs.flip(&[3])?)? / 2.0
    }
}

/// Layers of fer-nn with a head of candle's.
struct Own {
    trunk: Sequential,
    head: Linear,
}

impl Own {
    fn new(weights: &VarMap) -> candle_core::Result<Self> {
        let vb = var_builder(weights, 42, &Device::Cpu);
        let relu = Conv2dConfig { activation: Activation::Relu, ..Default::default() };
        let trunk = Sequential::new()
            .add(Symmetric)
            .add(conv2d(1, 8, 5, relu, vb.pp("first"))?)
            .add(MaxPool2d::new(4, 4)?)
            .add(batch_norm(8, BatchNormConfig::pytorch(), vb.pp("norm"))?)
            .add(conv2d(8, 16, 3, relu, vb.pp("second"))?)
            .add(MaxPool2d::new(2, 2)?)
            .add(Flatten);
        Ok(Self { trunk, head: candle_nn::linear(16 * 6 * 6, 3, vb.pp("head"))? })
    }
}

impl Network for Own {
    fn forward(&self, images: &Tensor, mode: Mode) -> candle_core::Result<Tensor> {
        self.head.forward(&self.trunk.forward(images, mode)?)
    }

    fn gradients(
        &self,
        images: &Tensor,
        step: Step,
        loss: &mut dyn FnMut(&Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<GradStore> {
        self.trunk.gradients(images, step, &mut |features| loss(&self.head.forward(features)?))
    }
}

/// Raises the flag after a batch of an epoch, as a handler of Ctrl-C would.
struct CtrlC {
    epoch: u32,
    flag: Arc<AtomicBool>,
}

impl Callback for CtrlC {
    fn name(&self) -> &str {
        "CtrlC"
    }

    fn on_batch_end(&mut self, batch: &BatchLog) {
        self.flag.fetch_or((batch.epoch, batch.step) == (self.epoch, 3), Ordering::Relaxed);
    }
}

fn batches(data: Dataset, shuffle: bool) -> Result<DeviceLoader, fer::data::Error> {
    Ok(DeviceLoader::new(Loader::new(data, LoaderConfig { shuffle, ..Default::default() })?, Device::Cpu))
}

/// A training that is interrupted and goes on must end as one that was left alone.
fn train(train: &DeviceLoader, valid: &DeviceLoader, folder: &Path) -> Result<Own, Box<dyn Error>> {
    let checkpoint = folder.join("state.safetensors");
    let optimizer = OptimizerConfig { learning_rate: 0.003, ..Default::default() };
    let trainer = Trainer::new(TrainConfig { epochs: 12, optimizer, ..Default::default() })?;
    let weights = VarMap::new();
    let undisturbed = trainer.fit(&Own::new(&weights)?, &weights, train, Some(valid), &mut [])?;

    let (weights, flag) = (VarMap::new(), Arc::new(AtomicBool::new(false)));
    let network = Own::new(&weights)?;
    let trainer = trainer.checkpoint(&checkpoint).interrupt(flag.clone());
    let mut ctrl_c = CtrlC { epoch: 2, flag };
    let outcome = trainer.fit(&network, &weights, train, Some(valid), &mut [&mut ctrl_c])?;
    assert_eq!(outcome.ended, Ended::Interrupted { epoch: 2, steps: 3 });
    let kept = Checkpoint::load(&checkpoint)?;
    assert_eq!((kept.position(), kept.history().epochs.len()), ((2, 3), 1));

    ctrl_c = CtrlC { epoch: 0, flag: ctrl_c.flag };
    ctrl_c.flag.store(false, Ordering::Relaxed);
    let outcome = trainer.resume(true).fit(&network, &weights, train, Some(valid), &mut [&mut ctrl_c])?;
    assert_eq!(outcome.ended, Ended::Completed);
    let losses = outcome.history.values("val_loss");
    assert_eq!(losses, undisturbed.history.values("val_loss"));
    println!(
        "trained for {} epochs, interrupted in between: validation loss {:.3}",
        losses.len(),
        losses[losses.len() - 1]
    );
    std::fs::write(folder.join("history.svg"), fer::plot::epoch_history(&outcome.history)?.to_svg()?)?;
    Ok(network)
}

/// What a classifier says of faces: its accuracy and area under the ROC curve, and the matrix as a picture.
fn measure(classifier: &Classifier, faces: &Dataset, folder: &Path) -> Result<(), Box<dyn Error>> {
    let pictures: Vec<_> = (0..faces.len()).map(|i| faces.picture(i)).collect();
    let predictions = classifier.predict_batch(&pictures)?;
    assert_eq!(predictions[9].label, classifier.predict(&pictures[9])?.label);
    let classes = classifier.labels().len();
    let probabilities: Vec<f32> =
        predictions.iter().flat_map(|p| p.probabilities.iter().map(|(_, p)| *p)).collect();
    let probabilities = Array2::from_shape_vec((faces.len(), classes), probabilities)?;
    let labels = faces.labels().unwrap_or_default();
    let truth: Vec<usize> = labels
        .iter()
        .map(|label| Ok(faces.encoder().encode(*label)? as usize))
        .collect::<Result<_, fer::Error>>()?;
    let matrix = ConfusionMatrix::new(&truth, &predicted_labels(probabilities.view())?, classes)?;
    let auc = roc_auc(&truth, probabilities.view())?;
    println!("{}", matrix.table(classifier.labels())?);
    println!("accuracy {:.3}, area under the ROC curve {:.3}", matrix.accuracy(), auc.macro_average);
    assert!(matrix.accuracy() > matrix.majority_baseline() && auc.macro_average > 0.8);
    let figure = fer::plot::confusion_matrix(&matrix, classifier.labels())?;
    std::fs::write(folder.join("confusion_matrix.png"), figure.to_png()?)?;
    Ok(())
}

/// An architecture that fer-model knows is a folder of two files; a program may have them inside and ask from many threads.
fn embed(folder: &Path) -> Result<(), Box<dyn Error>> {
    let classifier = Classifier::from_bytes(MODEL_TOML, MODEL_SAFETENSORS)?;
    let (config, tensors) = fer::model::load(SHIPPED)?;
    fer::model::save(folder.join("copy"), &config, &tensors)?;
    let copy = Classifier::open(folder.join("copy"))?;

    let photo = image::open("crates/fer-detect/tests/photos/astronaut.png")?.crop_imm(178, 63, 89, 113);
    let expected = copy.predict(&photo)?;
    assert_eq!(expected.label, "happy");
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| classifier.predict(&photo))).collect();
        threads.into_iter().try_for_each(|thread| {
            assert_eq!(thread.join().map_err(|_| "a thread panicked")??, expected);
            Ok::<_, Box<dyn Error>>(())
        })
    })?;
    let grey = to_grey(&photo, 48, 48);
    assert_eq!(grey.dimensions(), (48, 48));
    println!("{:?}", expected.top(2));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let subsets = Dataset::drawn(600, 42).split(Split::stratified(0.25))?;
    let names: Vec<String> = subsets.valid.encoder().names().into_iter().map(String::from).collect();
    let (train_faces, valid) = (batches(subsets.train, true)?, batches(subsets.valid.clone(), false)?);
    assert_eq!((train_faces.samples(), train_faces.steps(), valid.samples()), (450, 15, 150));

    let network = train(&train_faces, &valid, folder.path())?;
    let (input, preprocessing) = (Input::grey(48), Preprocessing::default());
    let classifier = Classifier::from_network(network, names, input, preprocessing, &Device::Cpu)?;
    measure(&classifier, &subsets.valid, folder.path())?;
    embed(folder.path())
}
