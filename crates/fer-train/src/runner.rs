//! What the loop asks of the host or a device.

use fer_nn::engine::StepResult;

use crate::Result;
use crate::own::Rows;
use crate::state::State;

/// What an epoch consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Training,
    Validation,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
        }
    }
}

/// What does the steps: the host, batch by batch, or a device, in ranges.
pub(crate) trait Runner {
    /// Begins a phase of epoch `epoch`, from 0, at batch `step`, with the present values of `state`.
    fn begin(&mut self, phase: Phase, state: &mut State, epoch: u32, step: u32) -> Result<()>;

    /// Does the next range of steps; without a result the phase is over. Where metrics need them, what was computed and
    /// what was wanted is added to `rows`.
    fn next(&mut self, phase: Phase, state: &mut State, rows: &mut Rows) -> Result<Vec<StepResult>>;

    /// Brings all that it changed to `state`.
    fn store(&mut self, state: &mut State) -> Result<()>;
}
