//! What a pass through a network is for.

/// What a forward pass is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Inference: moving statistics, no dropout. No gradient is taken of such a pass.
    #[default]
    Eval,
    /// Training: batch statistics, moving statistics updated, dropout masks of this step.
    Train(Step),
}

/// The training step that a pass belongs to. Random masks are keyed by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The user's seed.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u32,
    /// The step within the epoch, from 0.
    pub step: u32,
}
