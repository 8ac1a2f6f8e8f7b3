//! What users bring themselves: a loss, metrics, a schedule.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use fer_metrics::EpochLog;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::schedule::ScheduleKind;
use crate::{LossConfig, Result, TrainConfig, cross_entropy, loss};

pub(crate) type OwnLoss = Arc<dyn Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor> + Send + Sync>;
pub(crate) type OwnMetric = Arc<dyn Fn(ArrayView2<'_, f32>, ArrayView2<'_, f32>) -> f64 + Send + Sync>;
pub(crate) type OwnSchedule = Arc<dyn Fn(u64, u64) -> f64 + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct Own {
    pub loss: Option<OwnLoss>,
    pub metrics: Vec<(String, OwnMetric)>,
    pub schedule: Option<OwnSchedule>,
}

/// What there is of one's own, for a checkpoint. What it computes cannot be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnNames {
    own_loss: bool,
    own_metrics: Vec<String>,
    own_schedule: bool,
}

impl OwnNames {
    pub fn has_schedule(&self) -> bool {
        self.own_schedule
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names().fmt(f)
    }
}

impl Own {
    pub fn names(&self) -> OwnNames {
        OwnNames {
            own_loss: self.loss.is_some(),
            own_metrics: self.metrics.iter().map(|(name, _)| name.clone()).collect(),
            own_schedule: self.schedule.is_some(),
        }
    }

    /// Checks that every name can stand in a table, and that no setting is without effect.
    pub fn validate(&self, config: &TrainConfig) -> Result<()> {
        for (index, (name, _)) in self.metrics.iter().enumerate() {
            let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let is_new = name != "epoch"
                && !name.starts_with("val_")
                && !EpochLog::NAMES.contains(&name.as_str())
                && self.metrics[..index].iter().all(|(other, _)| other != name);
            let allowed = "a new name of letters, digits and _ that does not begin with val_";
            require(is_word && is_new, "metric", format!("{name:?}"), allowed)?;
        }
        let ignored = self.loss.is_some() && config.loss != LossConfig::default();
        require(!ignored, "loss", format!("{:?}", config.loss), "left out where the loss is your own")?;
        let kind = config.schedule.kind;
        let ignored = self.schedule.is_some() && kind != ScheduleKind::Constant;
        require(!ignored, "schedule.kind", format!("{kind:?}"), "left out where the schedule is your own")
    }

    /// What a device's engine cannot do of this training, in words; `None` when it can do all.
    pub fn beyond_engines(&self, config: &TrainConfig) -> Option<String> {
        let mut all = Vec::new();
        if self.loss.is_some() {
            all.push("a loss of your own".to_owned());
        }
        if config.loss.focal_gamma.is_some_and(|gamma| gamma > 0.0) {
            all.push("the focal loss".to_owned());
        }
        if !self.metrics.is_empty() {
            let names: Vec<_> = self.metrics.iter().map(|(name, _)| format!("`{name}`")).collect();
            all.push(format!("metrics of your own ({})", names.join(", ")));
        }
        (!all.is_empty()).then(|| all.join(" and "))
    }

    /// The mean loss of a batch; class weights count in the training alone.
    pub fn mean_loss(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        config: &LossConfig,
        trains: bool,
    ) -> Result<Tensor> {
        match &self.loss {
            Some(own) => {
                let (samples, classes) = logits.dims2()?;
                let shares = loss::shares(targets, samples, classes)?;
                let shares = Tensor::from_vec(shares, (samples, classes), &Device::Cpu)?;
                Ok(own(logits, &shares.to_dtype(logits.dtype())?.to_device(logits.device())?)?)
            }
            None if trains => cross_entropy(logits, targets, config),
            None => cross_entropy(logits, targets, &LossConfig { class_weights: None, ..config.clone() }),
        }
    }

    /// The metrics of the rows of an epoch, each name after `prefix`.
    pub fn measure(&self, rows: &Rows, prefix: &str) -> BTreeMap<String, f64> {
        let shape = (rows.targets.len() / rows.classes.max(1), rows.classes);
        let view = |values| ArrayView2::from_shape(shape, values);
        let (Ok(logits), Ok(targets)) = (view(&rows.logits), view(&rows.targets)) else {
            return BTreeMap::new();
        };
        self.metrics
            .iter()
            .map(|(name, metric)| (format!("{prefix}{name}"), metric(logits, targets)))
            .collect()
    }
}

/// The rows of an epoch so far, for metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    logits: Vec<f32>,
    targets: Vec<f32>,
    classes: usize,
}

impl Rows {
    pub fn push(&mut self, logits: &Tensor, targets: &Tensor) -> Result<()> {
        let (samples, classes) = logits.dims2()?;
        self.classes = classes;
        self.logits.extend(logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        self.targets.extend(loss::shares(targets, samples, classes)?.into_iter().map(|share| share as f32));
        Ok(())
    }

    /// Logits and targets, each `(rows, classes)`; nothing where there are no rows.
    pub fn tensors(&self) -> candle_core::Result<Vec<(&'static str, Tensor)>> {
        if self.targets.is_empty() {
            return Ok(Vec::new());
        }
        let shape = (self.targets.len() / self.classes.max(1), self.classes);
        let tensor = |values: &[f32]| Tensor::from_slice(values, shape, &Device::Cpu);
        Ok(vec![("logits", tensor(&self.logits)?), ("targets", tensor(&self.targets)?)])
    }

    /// The rows of such tensors.
    pub fn from_tensors(logits: &Tensor, targets: &Tensor) -> candle_core::Result<Self> {
        let (_, classes) = logits.dims2()?;
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1();
        Ok(Self { logits: values(logits)?, targets: values(targets)?, classes })
    }
}
