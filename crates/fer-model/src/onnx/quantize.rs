//! 8-bit numbers around the operators that ONNX Runtime computes in integers.

use std::collections::{HashMap, HashSet};

use candle_core::Result as CandleResult;

use super::convert::Network;
use super::program::Grid;
use super::proto::{Attribute, INT8, INT32, Node, Tensor, UINT8};

/// The largest number that a weight becomes. With all 8 bits, sums of two products can overflow 16 on x86 processors without
/// VNNI, which saturates them: the file would answer otherwise there.
pub(super) const MOST: f32 = 63.0;

/// What an operator is to 8-bit numbers.
enum Role {
    /// It multiplies them by a weight in 8 bits.
    Weighs,
    /// It computes new ones.
    Computes,
    /// It moves them: they stay as they are.
    Moves,
    /// It takes and gives floats.
    Floats,
}

fn role(node: &Node) -> Role {
    match node.op_type.as_str() {
        "Conv" | "Gemm" => Role::Weighs,
        "Add" | "AveragePool" | "GlobalAveragePool" => Role::Computes,
        "MaxPool" | "Flatten" | "Resize" => Role::Moves,
        _ => Role::Floats,
    }
}

/// The values that are 8-bit numbers, among these operators' and `images`.
pub(super) fn values(nodes: &[Node]) -> HashSet<String> {
    let mut wanted: HashSet<String> = HashSet::new();
    for node in nodes.iter().rev() {
        let output = &node.output[0];
        match role(node) {
            Role::Weighs => _ = wanted.insert(node.input[0].clone()),
            Role::Computes => wanted.extend(node.input.iter().cloned()),
            Role::Moves if wanted.contains(output) => _ = wanted.insert(node.input[0].clone()),
            Role::Moves | Role::Floats => continue,
        }
        if matches!(role(node), Role::Moves) {
            continue;
        }
        // These run in integers only if they give such; a dense layer gives floats too, to all but a ReLU.
        let mut readers = nodes.iter().filter(|reader| reader.input.contains(output));
        match (readers.next(), readers.next()) {
            // It is cut off at 0 by its numbers' bounds.
            (Some(relu), None) if relu.op_type == "Relu" => wanted.insert(relu.output[0].clone()),
            _ if node.op_type == "Gemm" => continue,
            _ => wanted.insert(output.clone()),
        };
    }
    wanted
}

/// The names of what an 8-bit value was made of.
#[derive(Clone)]
struct Coded {
    grid: Grid,
    scale: String,
    zero: String,
    floats: String,
}

impl Network<'_> {
    /// Puts 8-bit numbers where `grids` has a grid for a value, and weights beside them.
    pub fn quantize(&mut self, grids: &HashMap<String, Grid>) -> CandleResult<()> {
        let (seen, before) = self.seen.clone();
        let nodes = std::mem::take(&mut self.nodes);
        let mut coded: HashMap<String, Coded> = HashMap::new();
        for (i, mut node) in nodes.into_iter().enumerate() {
            if i == before {
                self.code(&seen, grids, None, &mut coded);
            }
            let moved = match role(&node) {
                Role::Moves => coded.get(&node.input[0]).cloned(),
                _ => None,
            };
            if let (Role::Weighs, Some(input)) = (role(&node), coded.get(&node.input[0])) {
                self.weights(&mut node, input.grid.scale)?;
            }
            for input in &mut node.input {
                if let Some(coded) = coded.get(input) {
                    input.clone_from(&coded.floats);
                }
            }
            let output = node.output[0].clone();
            self.nodes.push(node);
            self.code(&output, grids, moved, &mut coded);
        }
        Ok(())
    }

    /// Makes 8-bit numbers of a value and floats of them again, on the grid of what it was moved from where it was.
    fn code(
        &mut self,
        value: &str,
        grids: &HashMap<String, Grid>,
        moved: Option<Coded>,
        coded: &mut HashMap<String, Coded>,
    ) {
        let Some(&grid) = grids.get(value) else { return };
        let (grid, scale, zero) = match moved {
            Some(Coded { grid, scale, zero, .. }) => (grid, scale, zero),
            None => {
                let [scale, zero] = ["scale", "zero"].map(|of| self.free(&format!("{value}.{of}")));
                self.tensors.push(Tensor::floats(scale.clone(), &[], &[grid.scale]));
                self.tensors.push(Tensor::raw(zero.clone(), &[], UINT8, vec![grid.zero as u8]));
                (grid, scale, zero)
            }
        };
        let bytes =
            self.node("QuantizeLinear", &format!("{value}.bytes"), &[value, &scale, &zero], Vec::new());
        let floats =
            self.node("DequantizeLinear", &format!("{value}.floats"), &[&bytes, &scale, &zero], Vec::new());
        coded.insert(value.to_owned(), Coded { grid, scale, zero, floats });
    }

    /// The weight of a convolution or dense layer in 8 bits and its bias in 32, for an input of this scale.
    fn weights(&mut self, node: &mut Node, input: f32) -> CandleResult<()> {
        let (dims, weight) = self.take(&node.input[1]);
        let bias = node.input.get(2).cloned().map(|name| self.take(&name).1);
        let channels = dims[0] as usize;
        let of_channel = weight.len() / channels;
        let mut scales = Vec::with_capacity(channels);
        let mut numbers = Vec::with_capacity(weight.len());
        for (channel, values) in weight.chunks_exact(of_channel).enumerate() {
            let largest = values.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
            // So that the bias fits as well.
            let least = bias.as_ref().map_or(0.0, |bias| bias[channel].abs() / input / (1 << 30) as f32);
            let scale = (largest / MOST).max(least);
            let scale = if scale.is_normal() { scale } else { 1.0 };
            numbers.extend(
                values.iter().map(|value| (value / scale).round_ties_even().clamp(-MOST, MOST) as i8 as u8),
            );
            scales.push(scale);
        }
        let name = node.input[1].clone();
        let coded = Tensor::raw(self.free(&format!("{name}.bytes")), &dims, INT8, numbers);
        node.input[1] = self.dequantize(&name, coded, &scales, true);
        if let Some(bias) = bias {
            let scales: Vec<f32> = scales.iter().map(|scale| scale * input).collect();
            let numbers =
                bias.iter().zip(&scales).map(|(value, scale)| (value / scale).round_ties_even() as i32);
            let numbers = numbers.flat_map(i32::to_le_bytes).collect();
            let name = node.input[2].clone();
            let coded = Tensor::raw(self.free(&format!("{name}.ints")), &dims[..1], INT32, numbers);
            node.input[2] = self.dequantize(&name, coded, &scales, false);
        }
        Ok(())
    }

    /// Floats of a tensor of numbers around 0, with a scale for each of its first dimension.
    fn dequantize(&mut self, name: &str, coded: Tensor, scales: &[f32], is_weight: bool) -> String {
        let numbers = coded.name.clone();
        let scale = self.free(&format!("{name}.scales"));
        let mut inputs = vec![numbers.clone(), scale.clone()];
        self.tensors.push(coded);
        self.tensors.push(Tensor::floats(scale, &[scales.len()], scales));
        if is_weight {
            let zero = self.free(&format!("{name}.zeros"));
            let count = scales.len();
            self.tensors.push(Tensor::raw(zero.clone(), &[count as i64], INT8, vec![0; count]));
            inputs.push(zero);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.node("DequantizeLinear", &format!("{name}.floats"), &inputs, vec![Attribute::int("axis", 0)])
    }

    /// Takes a tensor out: its dimensions and values.
    fn take(&mut self, name: &str) -> (Vec<i64>, Vec<f32>) {
        match self.tensors.iter().position(|tensor| tensor.name == name) {
            Some(place) => {
                let tensor = self.tensors.remove(place);
                let values =
                    tensor.raw_data.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
                (tensor.dims, values.collect())
            }
            None => (vec![1], Vec::new()),
        }
    }
}
