//! Categorical cross-entropy and focal loss on logits, and accuracy.

use candle_core::{DType, Tensor};

use crate::{Error, LossConfig, Result};

/// The mean cross-entropy, or focal loss, of `logits` `(batch, classes)` against `targets`, a scalar.
///
/// Targets are labels `(batch,)` of `u32`, or the shares of the classes in each sample, `(batch, classes)` of `f32`, which
/// sum to 1. The loss of a sample is `−Σ tₖ·log pₖ`, with `(1 − pₖ)^γ` in each term where
/// [`LossConfig::focal_gamma`] is given.
///
/// It is computed on the logits, as log-softmax and negative log-likelihood, so nothing has to be clipped.
/// With class weights each sample's loss is multiplied by the mean of its classes' weights before the mean over the
/// samples, as Keras does (`sum_over_batch_size`).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use fer_train::{LossConfig, cross_entropy};
///
/// let logits = Tensor::new(&[[0_f32, 0.0, 0.0], [100.0, 0.0, 0.0]], &Device::Cpu)?;
/// let labels = Tensor::new(&[2_u32, 0], &Device::Cpu)?;
/// let loss = cross_entropy(&logits, &labels, &LossConfig::default())?.to_scalar::<f32>()?;
/// assert!((loss - 3_f32.ln() / 2.0).abs() < 1e-6);
///
/// let shares = Tensor::new(&[[0.25_f32, 0.25, 0.5], [1.0, 0.0, 0.0]], &Device::Cpu)?;
/// let soft = cross_entropy(&logits, &shares, &LossConfig::default())?.to_scalar::<f32>()?;
/// assert!((soft - loss).abs() < 1e-6, "equal logits are as far from any target");
/// # Ok::<(), fer_train::Error>(())
/// ```
///
/// # Errors
/// [`Error::Label`] for a label that is no class, [`Error::Share`] for shares that do not sum to 1, [`Error::Shape`] or
/// [`Error::Config`] when targets or class weights do not fit the logits, or candle's error.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, config: &LossConfig) -> Result<Tensor> {
    let LossConfig { label_smoothing: smoothing, class_weights, focal_gamma } = config;
    let (samples, classes) = logits.dims2()?;
    if let Some(weights) = class_weights {
        let allowed = format!("one number for each of the network's {classes} classes");
        crate::error::require(
            weights.len() == classes,
            "loss.class_weights",
            format!("{weights:?}"),
            allowed,
        )?;
    }
    let mut shares = shares(targets, samples, classes)?;
    for row in shares.chunks_mut(classes.max(1)) {
        let weight = class_weights.as_ref().map(|weights| dot(row, weights));
        row.iter_mut().for_each(|share| *share = *share * (1.0 - smoothing) + smoothing / classes as f64);
        if let Some(weight) = weight {
            row.iter_mut().for_each(|share| *share *= weight);
        }
    }
    let shares = Tensor::from_vec(shares, (samples, classes), targets.device())?;
    let shares = shares.to_dtype(logits.dtype())?.to_device(logits.device())?;
    // Subtracting a constant changes no softmax: no gradient has to pass through the maximum.
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
    let log_softmax = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)?;
    let terms = match focal_gamma {
        Some(gamma) if *gamma > 0.0 => {
            // The power's slope at 0 is infinite for γ under 1, and its product with log 1 = 0 would be no number.
            let missing = log_softmax.exp()?.affine(-1.0, 1.0)?.maximum(1e-12)?;
            (&log_softmax * missing.powf(*gamma)?)?
        }
        _ => log_softmax,
    };
    Ok(((terms * shares)?.sum_all()? / -(samples as f64))?)
}

/// How many rows of `logits` `(batch, classes)` are largest at their target, as [`cross_entropy`] takes it: at their label,
/// or at the class with the largest share. Of equal logits and of equal shares the first counts.
///
/// # Errors
/// As [`cross_entropy`].
pub fn count_correct(logits: &Tensor, targets: &Tensor) -> Result<usize> {
    let (samples, classes) = logits.dims2()?;
    let shares = shares(targets, samples, classes)?;
    let rows = logits.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let is_correct = |(row, shares): &(Vec<f64>, &[f64])| match first_largest(shares) {
        Some(class) if class < row.len() => {
            let (before, rest) = row.split_at(class);
            before.iter().all(|x| x < &rest[0]) && rest.iter().all(|x| x <= &rest[0])
        }
        _ => false,
    };
    Ok(rows.into_iter().zip(shares.chunks(classes.max(1))).filter(is_correct).count())
}

fn first_largest(row: &[f64]) -> Option<usize> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter().position(|&x| x == largest)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What a row of shares may lack of 1.
const SUM: f64 = 1e-3;

/// The share of every class in each sample, row by row, of targets of either kind.
pub(crate) fn shares(targets: &Tensor, samples: usize, classes: usize) -> Result<Vec<f64>> {
    if targets.dims() == [samples, classes] {
        let shares = targets.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        for (sample, row) in shares.chunks(classes.max(1)).enumerate() {
            let sum = row.iter().sum::<f64>();
            // Written so that NaN is caught too.
            if !((sum - 1.0).abs() <= SUM && row.iter().all(|&share| share >= 0.0)) {
                return Err(Error::Share { sample, sum });
            }
        }
        return Ok(shares);
    }
    if targets.dims() != [samples] {
        return Err(Error::Shape {
            what: "targets",
            expected: format!(
                "({samples},) labels or ({samples}, {classes}) shares, one for each row of logits"
            ),
            found: format!("{:?}", targets.shape()),
        });
    }
    let labels = targets.to_vec1::<u32>()?;
    let mut shares = vec![0.0; samples * classes];
    for (sample, &label) in labels.iter().enumerate() {
        if label as usize >= classes {
            return Err(Error::Label { sample, label, classes });
        }
        shares[sample * classes + label as usize] = 1.0;
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    const LOGITS: [[f64; 3]; 4] = [[0.5, -1.0, 2.0], [3.0, 0.0, -2.0], [1e3, 0.0, -1e3], [0.1, 0.2, 0.3]];
    const LABELS: [u32; 4] = [2, 1, 0, 0];
    const SHARES: [[f64; 3]; 4] = [[0.25, 0.0, 0.75], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]];

    fn plain(logits: &[[f64; 3]; 4], targets: &[[f64; 3]; 4], config: &LossConfig) -> f64 {
        let mut total = 0.0;
        for (row, shares) in logits.iter().zip(targets) {
            let max = row.iter().copied().fold(f64::MIN, f64::max);
            let normaliser = max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
            let weight = config.class_weights.as_ref().map_or(1.0, |weights| dot(shares, weights));
            for (x, share) in row.iter().zip(shares) {
                let target = share * (1.0 - config.label_smoothing) + config.label_smoothing / 3.0;
                let log = x - normaliser;
                total -= weight * target * (1.0 - log.exp()).powf(config.focal_gamma.unwrap_or(0.0)) * log;
            }
        }
        total / 4.0
    }

    #[test]
    fn value_and_gradient_are_those_of_the_definition() {
        let labels = Tensor::new(&LABELS, &Device::Cpu).unwrap();
        let hot = LABELS.map(|label| [0, 1, 2].map(|class| f64::from(u8::from(class == label))));
        let shares = Tensor::new(&SHARES, &Device::Cpu).unwrap();
        let cases = [(labels, hot), (shares, SHARES)];
        for (label_smoothing, focal_gamma, class_weights) in [
            (0.0, None, None),
            (0.1, None, None),
            (0.1, None, Some(vec![0.5, 2.0, 0.0])),
            (0.0, Some(2.0), Some(vec![0.5, 2.0, 0.0])),
            (0.1, Some(2.0), None),
            (0.0, Some(0.5), None),
            (0.0, Some(0.0), None),
        ] {
            let config = LossConfig { label_smoothing, class_weights, focal_gamma };
            for (targets, shares) in &cases {
                let logits = Var::new(&LOGITS, &Device::Cpu).unwrap();
                let loss = cross_entropy(&logits, targets, &config).unwrap();
                let expected = plain(&LOGITS, shares, &config);
                let found = loss.to_scalar::<f64>().unwrap();
                assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} {expected}");
                let gradients = loss.backward().unwrap();
                let gradient = gradients.get(&logits).unwrap().to_vec2::<f64>().unwrap();
                for (i, k) in (0..4).flat_map(|i| (0..3).map(move |k| (i, k))) {
                    let nudged = |by: f64| {
                        let mut logits = LOGITS;
                        logits[i][k] += by;
                        plain(&logits, shares, &config)
                    };
                    let difference = (nudged(1e-4) - nudged(-1e-4)) / 2e-4;
                    assert!((gradient[i][k] - difference).abs() < 1e-6, "{config:?} {i} {k}");
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
    fn the_first_of_equal_shares_is_the_target() {
        let logits = Tensor::new(&[[2_f32, 1.0], [1.0, 2.0], [0.0, f32::NAN]], &Device::Cpu).unwrap();
        let shares = Tensor::new(&[[0.5_f32, 0.5], [0.5, 0.5], [0.1, 0.9]], &Device::Cpu).unwrap();
        assert_eq!(count_correct(&logits, &shares).unwrap(), 1);
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

    #[test]
    fn shares_that_are_none_are_named() {
        let logits = Tensor::new(&[[1_f32, 1.0], [1.0, 1.0]], &Device::Cpu).unwrap();
        for bad in [[0.5_f32, 0.4], [1.5, -0.5], [f32::NAN, 1.0]] {
            let shares = Tensor::new(&[[0.5, 0.5], bad], &Device::Cpu).unwrap();
            let error = cross_entropy(&logits, &shares, &LossConfig::default()).unwrap_err();
            assert!(matches!(error, Error::Share { sample: 1, .. }), "{error}");
        }
        let three = Tensor::new(&[[0.5_f32, 0.5, 0.0], [0.5, 0.5, 0.0]], &Device::Cpu).unwrap();
        let error = count_correct(&logits, &three).unwrap_err().to_string();
        assert!(error.starts_with("targets: expected (2,) labels or (2, 2) shares"), "{error}");
    }
}
