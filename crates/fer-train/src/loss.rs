//! Categorical cross-entropy on logits, and accuracy.

use candle_core::{DType, Tensor};

use crate::{Error, LossConfig};

/// The mean cross-entropy of `logits` `(batch, classes)` against `labels` `(batch,)`, a scalar.
///
/// It is computed on the logits, as log-softmax and negative log-likelihood, so nothing has to be clipped.
/// With class weights each sample's loss is multiplied by its class' weight before the mean over the samples,
/// as Keras does (`sum_over_batch_size`).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use fer_train::{LossConfig, cross_entropy};
///
/// let logits = Tensor::new(&[[0_f32, 0.0, 0.0], [100.0, 0.0, 0.0]], &Device::Cpu)?;
/// let labels = Tensor::new(&[2_u32, 0], &Device::Cpu)?;
/// let loss = cross_entropy(&logits, &labels, &LossConfig::default())?.to_scalar::<f32>()?;
/// assert!((loss - 3_f32.ln() / 2.0).abs() < 1e-6);
/// # Ok::<(), fer_train::Error>(())
/// ```
///
/// # Errors
/// [`Error::Label`] for a label that is no class, [`Error::Shape`] or [`Error::Config`] when labels or class
/// weights do not fit the logits, or candle's error.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, config: &LossConfig) -> Result<Tensor, Error> {
    let (samples, classes) = logits.dims2()?;
    if let Some(weights) = &config.class_weights {
        let allowed = format!("one number for each of the network's {classes} classes");
        crate::config::require(
            weights.len() == classes,
            "loss.class_weights",
            format!("{weights:?}"),
            allowed,
        )?;
    }
    let mut targets = vec![config.label_smoothing / classes as f64; samples * classes];
    for (row, label) in targets.chunks_mut(classes.max(1)).zip(classes_of(labels, samples, classes)?) {
        row[label] += 1.0 - config.label_smoothing;
        if let Some(weights) = &config.class_weights {
            row.iter_mut().for_each(|target| *target *= weights[label]);
        }
    }
    let targets = Tensor::from_vec(targets, (samples, classes), labels.device())?;
    let targets = targets.to_dtype(logits.dtype())?.to_device(logits.device())?;
    // Subtracting a constant changes no softmax: no gradient has to pass through the maximum.
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
    let log_softmax = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)?;
    Ok(((log_softmax * targets)?.sum_all()? / -(samples as f64))?)
}

/// How many rows of `logits` `(batch, classes)` are largest at their label; of equal logits the first counts.
///
/// # Errors
/// As [`cross_entropy`].
pub fn count_correct(logits: &Tensor, labels: &Tensor) -> Result<usize, Error> {
    let (samples, classes) = logits.dims2()?;
    let labels = classes_of(labels, samples, classes)?;
    let rows = logits.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let is_correct = |(row, label): &(Vec<f64>, usize)| {
        let (before, rest) = row.split_at(*label);
        before.iter().all(|x| x < &rest[0]) && rest.iter().all(|x| x <= &rest[0])
    };
    Ok(rows.into_iter().zip(labels).filter(is_correct).count())
}

fn classes_of(labels: &Tensor, samples: usize, classes: usize) -> Result<Vec<usize>, Error> {
    if labels.dims() != [samples] {
        return Err(Error::Shape {
            what: "labels",
            expected: format!("({samples},), one for each row of logits"),
            found: format!("{:?}", labels.shape()),
        });
    }
    let labels = labels.to_vec1::<u32>()?;
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(sample) => Err(Error::Label { sample, label: labels[sample], classes }),
        None => Ok(labels.into_iter().map(|label| label as usize).collect()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    const LOGITS: [[f64; 3]; 4] = [[0.5, -1.0, 2.0], [3.0, 0.0, -2.0], [1e3, 0.0, -1e3], [0.1, 0.2, 0.3]];
    const LABELS: [u32; 4] = [2, 1, 0, 0];

    fn plain(logits: &[[f64; 3]; 4], config: &LossConfig) -> f64 {
        let mut total = 0.0;
        for (row, label) in logits.iter().zip(LABELS) {
            let max = row.iter().copied().fold(f64::MIN, f64::max);
            let normaliser = max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
            let weight = config.class_weights.as_ref().map_or(1.0, |weights| weights[label as usize]);
            for (class, x) in row.iter().enumerate() {
                let hot = f64::from(u8::from(class as u32 == label));
                let target = hot * (1.0 - config.label_smoothing) + config.label_smoothing / 3.0;
                total -= weight * target * (x - normaliser);
            }
        }
        total / 4.0
    }

    #[test]
    fn value_and_gradient_are_those_of_the_definition() {
        let labels = Tensor::new(&LABELS, &Device::Cpu).unwrap();
        for label_smoothing in [0.0, 0.1] {
            for class_weights in [None, Some(vec![0.5, 2.0, 0.0])] {
                let config = LossConfig { label_smoothing, class_weights };
                let logits = Var::new(&LOGITS, &Device::Cpu).unwrap();
                let loss = cross_entropy(&logits, &labels, &config).unwrap();
                let expected = plain(&LOGITS, &config);
                let found = loss.to_scalar::<f64>().unwrap();
                assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} {expected}");
                let gradients = loss.backward().unwrap();
                let gradient = gradients.get(&logits).unwrap().to_vec2::<f64>().unwrap();
                for (i, k) in (0..4).flat_map(|i| (0..3).map(move |k| (i, k))) {
                    let nudged = |by: f64| {
                        let mut logits = LOGITS;
                        logits[i][k] += by;
                        plain(&logits, &config)
                    };
                    let difference = (nudged(1e-4) - nudged(-1e-4)) / 2e-4;
                    assert!((gradient[i][k] - difference).abs() < 1e-6, "{i} {k}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_equal_logits_is_the_prediction() {
        let logits = Tensor::new(&[[1_f32, 1.0], [1.0, 1.0], [0.0, 2.0]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[0_u32, 1, 1], &Device::Cpu).unwrap();
        assert_eq!(count_correct(&logits, &labels).unwrap(), 2);
    }

    #[test]
    fn a_label_that_is_no_class_is_named() {
        let logits = Tensor::new(&[[1_f32, 1.0], [1.0, 1.0]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[0_u32, 2], &Device::Cpu).unwrap();
        let error = cross_entropy(&logits, &labels, &LossConfig::default()).unwrap_err();
        assert_eq!(error.to_string(), "sample 1 of the batch has the label 2, but the network has 2 classes");
        let config = LossConfig { class_weights: Some(vec![1.0]), ..Default::default() };
        let labels = Tensor::new(&[0_u32, 1], &Device::Cpu).unwrap();
        let error = cross_entropy(&logits, &labels, &config).unwrap_err().to_string();
        assert!(error.contains("each of the network's 2 classes"), "{error}");
    }
}
