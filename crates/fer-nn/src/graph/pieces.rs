//! A network on the CPU, and on a device that has no engine for it: stages that run as one, and layers called in turn.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var, bail};

use crate::cpu::fused::{Fused, Pass};
use crate::layer::Layer;
use crate::plan::{Op, Plan, Source};
use crate::{Mode, Step};

/// The layers of a graph; none where it adds.
type Layers = [Option<Arc<dyn Layer>>];

/// A plan in pieces, in order.
#[derive(Debug)]
pub(super) struct Pieces {
    pub plan: Plan,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Fused(Fused),
    /// Stages whose layers are called.
    Called(Vec<usize>),
}

/// The outputs of stages by where they are read from.
type Values = HashMap<Source, Tensor>;

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
        let mut pieces = Vec::new();
        let mut first = 0;
        while first < plan.stages.len() {
            let of = |takes: bool| {
                plan.stages[first..].iter().take_while(move |&s| Fused::takes(s) == takes).count()
            };
            let end = first + of(true);
            if end > first {
                let is_read = |stage: usize| reads(&plan, end..plan.stages.len(), stage);
                pieces.push(Piece::Fused(Fused::new(&plan.stages[first..end], first, is_read)));
                first = end;
            } else {
                let end = first + of(false);
                pieces.push(Piece::Called((first..end).collect()));
                for stage in &plan.stages[first..end] {
                    tracing::debug!(
                        "{}: its layers are called one by one on the CPU",
                        plan.nodes[stage.nodes[0]].name
                    );
                }
                first = end;
            }
        }
        Self { plan, pieces }
    }

    /// Whether stages run as one on such images.
    fn fuses(&self, images: &Tensor) -> bool {
        images.device().is_cpu() && images.dtype() == DType::F32
    }

    fn take_outputs(&self, values: &Values) -> Result<Vec<Tensor>> {
        self.plan.outputs.iter().map(|&output| value(values, output)).collect()
    }

    /// All outputs by the moving statistics.
    pub fn infer(&self, layers: &Layers, images: &Tensor) -> Result<Vec<Tensor>> {
        if !self.fuses(images) {
            return self.in_turn(layers, images, Mode::Eval);
        }
        let mut values = Values::from([(Source::Images, images.clone())]);
        for piece in &self.pieces {
            match piece {
                Piece::Fused(fused) => {
                    let inputs = fused
                        .inputs
                        .iter()
                        .map(|&input| value(&values, input))
                        .collect::<Result<Vec<_>>>()?;
                    let outputs = fused.infer(&inputs)?;
                    values.extend(fused.outputs.iter().map(|&stage| Source::Of(stage)).zip(outputs));
                }
                Piece::Called(stages) => self.call(layers, stages, &mut values, Mode::Eval)?,
            }
        }
        self.take_outputs(&values)
    }

    /// All outputs, every layer called.
    pub fn in_turn(&self, layers: &Layers, images: &Tensor, mode: Mode) -> Result<Vec<Tensor>> {
        let mut values = Values::from([(Source::Images, images.clone())]);
        let stages: Vec<usize> = (0..self.plan.stages.len()).collect();
        self.call(layers, &stages, &mut values, mode)?;
        self.take_outputs(&values)
    }

    /// Calls the layers of stages.
    fn call(&self, layers: &Layers, stages: &[usize], values: &mut Values, mode: Mode) -> Result<()> {
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
            Piece::Called(_) => true,
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

fn value(values: &Values, source: Source) -> Result<Tensor> {
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
