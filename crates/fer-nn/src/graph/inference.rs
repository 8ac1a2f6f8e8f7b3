//! A network on the CPU in inference: where depthwise convolutions are, rows flow through them and what stands around them.

use candle_core::{DType, Result, Tensor};

use super::pieces::{Layers, Piece, Pieces, Values, value};
use crate::Mode;
use crate::plan::Source;

impl Pieces {
    fn of_inference(&self) -> &[Piece] {
        self.of_inference.as_ref().unwrap_or(&self.pieces)
    }

    /// Whether images of bytes are read as they are in inference.
    pub fn reads_bytes(&self) -> bool {
        let reads_others = |piece: &Piece| match piece {
            Piece::Rows(_) => true,
            Piece::Fused(fused) => !fused.inputs.contains(&Source::Images),
            Piece::Called(stages) => stages.iter().all(|&i| {
                let stage = &self.plan.stages[i];
                stage.input != Source::Images && stage.skip != Some(Source::Images)
            }),
        };
        !self.plan.outputs.contains(&Source::Images) && self.of_inference().iter().all(reads_others)
    }

    /// All outputs by the moving statistics.
    pub fn infer(&self, layers: &Layers, images: &Tensor) -> Result<Vec<Tensor>> {
        let is_bytes = images.device().is_cpu() && images.dtype() == DType::U8 && self.reads_bytes();
        if !self.fuses(images) && !is_bytes {
            return self.in_turn(layers, images, Mode::Eval);
        }
        // On a thread of the pool from here on: to go there for each layer would cost more than a small layer.
        rayon::scope(|_| self.infer_in_pieces(layers, images))
    }

    fn infer_in_pieces(&self, layers: &Layers, images: &Tensor) -> Result<Vec<Tensor>> {
        let mut values = Values::from([(Source::Images, images.clone())]);
        for piece in self.of_inference() {
            let read = |inputs: &[Source]| {
                inputs.iter().map(|&input| value(&values, input)).collect::<Result<Vec<_>>>()
            };
            let (outputs, made) = match piece {
                Piece::Fused(fused) => (&fused.outputs, fused.infer(&read(&fused.inputs)?)?),
                Piece::Rows(rows) => (&rows.outputs, rows.infer(&read(&rows.inputs)?)?),
                Piece::Called(stages) => {
                    self.call(layers, stages, &mut values, Mode::Eval)?;
                    continue;
                }
            };
            values.extend(outputs.iter().map(|&stage| Source::Of(stage)).zip(made));
        }
        self.take_outputs(&values)
    }
}
