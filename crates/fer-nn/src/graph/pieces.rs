//! A network on the CPU, and on a device that has no engine for it: stages that run as one, and layers called in turn.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var, bail};

use crate::cpu::fused::{Fused, Pass};
use crate::cpu::rows::Rows;
use crate::layer::Layer;
use crate::plan::{Op, Plan, Source, Stage};
use crate::{Mode, Step};

/// The layers of a graph; none where it adds.
pub(super) type Layers = [Option<Arc<dyn Layer>>];

/// A plan in pieces, in order.
#[derive(Debug)]
pub(super) struct Pieces {
    pub plan: Plan,
    /// Those of a training step, and of inference where it has none of its own.
    pub(super) pieces: Vec<Piece>,
    pub(super) of_inference: Option<Vec<Piece>>,
}

#[derive(Debug)]
pub(super) enum Piece {
    Fused(Fused),
    /// In inference alone.
    Rows(Rows),
    /// Stages whose layers are called.
    Called(Vec<usize>),
}

/// How a stage is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fused,
    Rows,
    Called,
}

impl Kind {
    fn of(stage: &Stage) -> Self {
        if Fused::takes(stage) { Self::Fused } else { Self::Called }
    }

    /// How stages are computed in inference, where that is otherwise than in training.
    fn of_inference(plan: &Plan, in_training: &[Self]) -> Option<Vec<Self>> {
        let mut kinds = in_training.to_vec();
        let mut first = 0;
        for run in plan.stages.chunk_by(|a, b| Rows::takes(a) == Rows::takes(b)) {
            if Rows::takes(&run[0]) && Rows::suits(run) {
                kinds[first..first + run.len()].fill(Self::Rows);
            }
            first += run.len();
        }
        (kinds != in_training).then_some(kinds)
    }
}

/// The stages in pieces, each of neighbours that are computed alike.
fn split(plan: &Plan, kinds: &[Kind]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut first = 0;
    for run in kinds.chunk_by(|a, b| a == b) {
        let (begin, end) = (first, first + run.len());
        let stages = &plan.stages[begin..end];
        let is_read = |stage: usize| reads(plan, end..plan.stages.len(), stage);
        first = end;
        pieces.push(match run[0] {
            Kind::Fused => Piece::Fused(Fused::new(stages, begin, is_read)),
            Kind::Rows => Piece::Rows(Rows::new(stages, begin, is_read)),
            Kind::Called => {
                for stage in stages {
                    let name = &plan.nodes[stage.nodes[0]].name;
                    tracing::debug!("{name}: its layers are called one by one on the CPU");
                }
                Piece::Called((begin..end).collect())
            }
        });
    }
    pieces
}

/// The outputs of stages by where they are read from.
pub(super) type Values = HashMap<Source, Tensor>;

/// A piece of a forward pass in training.
struct Done<'a> {
    piece: &'a Piece,
    /// What it read from outside, as variables of its own.
    inputs: Vec<(Source, Var)>,
    pass: Option<Pass<'a>>,
    /// What others read.
    outputs: Vec<(Source, Tensor)>,
}

impl Pieces {
    pub fn of(plan: Plan) -> Self {
        let kinds: Vec<Kind> = plan.stages.iter().map(Kind::of).collect();
        let pieces = split(&plan, &kinds);
        let of_inference = Kind::of_inference(&plan, &kinds).map(|kinds| split(&plan, &kinds));
        Self { plan, pieces, of_inference }
    }

    /// Whether stages run as one on such images.
    pub(super) fn fuses(&self, images: &Tensor) -> bool {
        images.device().is_cpu() && images.dtype() == DType::F32
    }

    pub(super) fn take_outputs(&self, values: &Values) -> Result<Vec<Tensor>> {
        self.plan.outputs.iter().map(|&output| value(values, output)).collect()
    }

    /// All outputs, every layer called.
    pub fn in_turn(&self, layers: &Layers, images: &Tensor, mode: Mode) -> Result<Vec<Tensor>> {
        let mut values = Values::from([(Source::Images, images.clone())]);
        let stages: Vec<usize> = (0..self.plan.stages.len()).collect();
        self.call(layers, &stages, &mut values, mode)?;
        self.take_outputs(&values)
    }

    /// Calls the layers of stages.
    pub(super) fn call(
        &self,
        layers: &Layers,
        stages: &[usize],
        values: &mut Values,
        mode: Mode,
    ) -> Result<()> {
        for &i in stages {
            let stage = &self.plan.stages[i];
            let mut xs = value(values, stage.input)?;
            for &node in &stage.nodes {
                xs = match (&self.plan.nodes[node].op, &layers[node], stage.skip) {
                    (Op::Sum, _, Some(skip)) => {
                        let added = value(values, skip)?;
                        if added.shape() != xs.shape() {
                            bail!(
                                "sum: expected two inputs of one shape, got {:?} and {:?}",
                                xs.dims(),
                                added.dims()
                            )
                        }
                        (xs + added)?
                    }
                    (_, Some(layer), _) => layer.forward(&xs, mode)?,
                    _ => bail!("{}: no layer", self.plan.nodes[node].name),
                };
            }
            values.insert(Source::Of(i), xs);
        }
        Ok(())
    }

    /// The gradients of a training step.
    pub fn gradients(
        &self,
        layers: &Layers,
        images: &Tensor,
        step: Step,
        loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<GradStore> {
        let mode = Mode::Train(step);
        let holds = |piece: &Piece| match piece {
            Piece::Fused(fused) => fused.holds_its_variables(),
            Piece::Rows(_) | Piece::Called(_) => true,
        };
        let worth = self.pieces.iter().any(|piece| matches!(piece, Piece::Fused(_)));
        if !worth || !self.fuses(images) || !self.pieces.iter().all(holds) {
            return match self.in_turn(layers, images, mode)?.first() {
                Some(output) => loss(output)?.backward(),
                None => bail!("the graph has no output"),
            };
        }
        let mut values = Values::from([(Source::Images, images.clone())]);
        let mut done = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            done.push(self.forward(layers, piece, &mut values, mode, step)?);
        }
        let output = self.plan.outputs.first().copied().unwrap_or(Source::Images);
        let logits = match done.iter().flat_map(|done| &done.outputs).find(|(source, _)| *source == output) {
            Some((_, logits)) => logits.clone(),
            None => images.clone(),
        };
        // What the last layers gave is still connected to them; what stages that run as one gave is not.
        let logits = if logits.track_op() { logits } else { Var::from_tensor(&logits)?.into_inner() };
        let mut store = loss(&logits)?.backward()?;
        let mut of_values = HashMap::new();
        if let Some(gradient) = logits.is_variable().then(|| store.remove(&logits)).flatten() {
            of_values.insert(output, gradient);
        }
        for done in done.into_iter().rev() {
            done.backward(&mut of_values, &mut store)?;
        }
        Ok(store)
    }

    fn forward<'a>(
        &'a self,
        layers: &Layers,
        piece: &'a Piece,
        values: &mut Values,
        mode: Mode,
        step: Step,
    ) -> Result<Done<'a>> {
        match piece {
            Piece::Fused(fused) => {
                let read =
                    fused.inputs.iter().map(|&input| value(values, input)).collect::<Result<Vec<_>>>()?;
                let (outputs, pass) = fused.forward(&read, step)?;
                let outputs: Vec<_> =
                    fused.outputs.iter().map(|&stage| Source::Of(stage)).zip(outputs).collect();
                values.extend(outputs.iter().cloned());
                // The stages keep what they read.
                Ok(Done { piece, inputs: Vec::new(), pass: Some(pass), outputs })
            }
            Piece::Rows(_) => bail!("rows have no gradients"),
            Piece::Called(stages) => {
                let mut outside: Vec<Source> = Vec::new();
                for &i in stages {
                    let stage = &self.plan.stages[i];
                    for source in [Some(stage.input), stage.skip].into_iter().flatten() {
                        let is_inside = matches!(source, Source::Of(of) if stages.contains(&of));
                        if !is_inside && !outside.contains(&source) {
                            outside.push(source);
                        }
                    }
                }
                // Images need no gradient.
                let mut inner = Values::new();
                let mut inputs = Vec::new();
                for source in outside {
                    match source {
                        Source::Images => _ = inner.insert(source, value(values, source)?),
                        Source::Of(_) => {
                            let var = Var::from_tensor(&value(values, source)?)?;
                            inner.insert(source, var.as_tensor().clone());
                            inputs.push((source, var));
                        }
                    }
                }
                self.call(layers, stages, &mut inner, mode)?;
                let mut outputs: Vec<_> = inner
                    .into_iter()
                    .filter(|(source, _)| matches!(source, Source::Of(of) if stages.contains(of)))
                    .filter(|(source, _)| self.is_read_after(stages, *source))
                    .collect();
                // Gradients are added in this order, which must not be that of a hash.
                outputs.sort_unstable_by_key(|(source, _)| *source);
                values.extend(outputs.iter().map(|(source, tensor)| (*source, tensor.detach())));
                Ok(Done { piece, inputs, pass: None, outputs })
            }
        }
    }

    fn is_read_after(&self, stages: &[usize], source: Source) -> bool {
        let (Some(last), Source::Of(stage)) = (stages.last(), source) else { return false };
        reads(&self.plan, last + 1..self.plan.stages.len(), stage)
    }
}

/// Whether some stages, or whoever uses the network, read a stage's output.
fn reads(plan: &Plan, mut stages: std::ops::Range<usize>, stage: usize) -> bool {
    let source = Source::Of(stage);
    let by_stage = |i: usize| plan.stages[i].input == source || plan.stages[i].skip == Some(source);
    stages.any(by_stage) || plan.outputs.contains(&source)
}

pub(super) fn value(values: &Values, source: Source) -> Result<Tensor> {
    match values.get(&source) {
        Some(tensor) => Ok(tensor.clone()),
        None => bail!("{source:?} was not computed"),
    }
}

impl Done<'_> {
    /// Goes back through the piece: its variables' gradients go to `store`, those of what it read to `of_values`. Where the
    /// loss was taken of its output, its own backward pass has been made with the loss'.
    fn backward(self, of_values: &mut HashMap<Source, Tensor>, store: &mut GradStore) -> Result<()> {
        match (self.piece, self.pass) {
            (Piece::Fused(fused), Some(pass)) => {
                let taken: Vec<Option<Tensor>> =
                    fused.outputs.iter().map(|&stage| of_values.remove(&Source::Of(stage))).collect();
                let wanted: Vec<bool> = fused.inputs.iter().map(|&input| input != Source::Images).collect();
                let of_inputs = pass.backward(&taken, &wanted, store)?;
                for (&source, gradient) in fused.inputs.iter().zip(of_inputs) {
                    if let Some(gradient) = gradient {
                        add(of_values, source, gradient)?;
                    }
                }
            }
            _ => {
                let mut scalar: Option<Tensor> = None;
                let mut taken = Vec::new();
                for (source, tensor) in &self.outputs {
                    taken.push((tensor, of_values.remove(source)));
                }
                for (tensor, gradient) in taken {
                    let Some(gradient) = gradient.filter(|_| tensor.track_op()) else { continue };
                    let term = (tensor * gradient)?.sum_all()?;
                    scalar = Some(match scalar {
                        Some(sum) => (sum + term)?,
                        None => term,
                    });
                }
                if let Some(scalar) = scalar {
                    merge(store, scalar.backward()?)?;
                }
                for (source, var) in self.inputs {
                    if let Some(gradient) = store.remove(&var) {
                        add(of_values, source, gradient)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn add(of_values: &mut HashMap<Source, Tensor>, source: Source, gradient: Tensor) -> Result<()> {
    let sum = match of_values.get(&source) {
        Some(before) => (before + gradient)?,
        None => gradient,
    };
    of_values.insert(source, sum);
    Ok(())
}

/// Adds the gradients of another pass.
fn merge(store: &mut GradStore, other: GradStore) -> Result<()> {
    let ids: Vec<_> = other.get_ids().copied().collect();
    for id in ids {
        let Some(gradient) = other.get_id(id) else { continue };
        let sum = match store.get_id(id) {
            Some(before) => (before + gradient)?,
            None => gradient.clone(),
        };
        store.insert_id(id, sum);
    }
    Ok(())
}
