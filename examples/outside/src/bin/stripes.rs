//! A layer, a loss, a metric and a schedule of one's own, trained by fer-train on stripes that lie or stand.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::VarMap;
use fer_nn::{Activation, Conv2dConfig, GlobalMean, Layer, Mode, Sequential, conv2d, dense, var_builder};
use fer_train::{BoxError, TensorBatches, TrainConfig, Trainer};

/// Divides every image by its largest value.
#[derive(Debug)]
struct Contrast;

impl Layer for Contrast {
    fn forward(&self, xs: &Tensor, _mode: Mode) -> Result<Tensor> {
        let largest = xs.flatten_from(1)?.max_keepdim(1)?.reshape((xs.dim(0)?, 1, 1, 1))?;
        xs.broadcast_div(&(largest + 1e-6)?)
    }
}

/// Squared distance of the probabilities from the targets (Brier 1950).
fn brier(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    (candle_nn::ops::softmax(logits, D::Minus1)? - targets)?.sqr()?.sum(1)?.mean_all()
}

/// 8×8 images of stripes: label 0 where they lie, 1 where they stand.
fn stripes(samples: usize) -> Result<(Tensor, Tensor)> {
    let value = |i: usize| {
        let (sample, row, column) = (i / 64, i / 8 % 8, i % 8);
        let along = if sample % 2 == 0 { row } else { column };
        ((along + sample / 2) % 3) as f32 * (1 + sample % 5) as f32
    };
    let images =
        Tensor::from_vec((0..samples * 64).map(value).collect::<Vec<_>>(), (samples, 1, 8, 8), &Device::Cpu)?;
    Ok((images, Tensor::from_vec((0..samples as u32).map(|i| i % 2).collect(), samples, &Device::Cpu)?))
}

fn main() -> std::result::Result<(), BoxError> {
    let vars = VarMap::new();
    let vb = var_builder(&vars, 42, &Device::Cpu);
    let relu = Conv2dConfig { activation: Activation::Relu, ..Default::default() };
    let net = Sequential::new()
        .add(Contrast)
        .add(conv2d(1, 8, 3, relu, vb.pp("conv"))?)
        .add(GlobalMean)
        .add(dense(8, 2, Default::default(), vb.pp("out"))?);

    let (images, labels) = stripes(120)?;
    let train = TensorBatches::new(images, labels, 16)?.shuffled(1);
    let (images, labels) = stripes(40)?;
    let valid = TensorBatches::new(images, labels, 16)?;
    let mut config = TrainConfig { epochs: 20, ..Default::default() };
    config.optimizer.learning_rate = 0.02;
    let outcome = Trainer::new(config)?
        .loss(brier)
        .metric("f1", fer_metrics::macro_f1)
        .schedule(|step, steps| 1.0 - 0.9 * step as f64 / steps as f64)
        .fit(&net, &vars, &train, Some(&valid), &mut [])?;
    print!("{}", outcome.history.to_csv());
    assert!(outcome.history.values("val_f1").last() > Some(&0.95), "the stripes were not learned");
    Ok(())
}
