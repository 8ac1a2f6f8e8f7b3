//! From layers to stages.

use super::{Node, Op, Plan, Source, Stage};
use crate::Activation;

impl Plan {
    /// The stages of layers, each of which reads the images or layers before it.
    pub fn of(nodes: Vec<Node>, outputs: &[Source]) -> Self {
        let mut lowering =
            Lowering { readers: vec![Vec::new(); nodes.len()], stage_of: vec![None; nodes.len()] };
        for (i, node) in nodes.iter().enumerate() {
            for input in &node.inputs {
                if let Source::Of(of) = *input {
                    lowering.readers[of].push(i);
                }
            }
        }
        // What leaves the network is read by somebody else too.
        for output in outputs {
            if let Source::Of(of) = *output {
                lowering.readers[of].extend([usize::MAX; 2]);
            }
        }
        let mut stages = Vec::new();
        for first in 0..nodes.len() {
            if lowering.stage_of[first].is_none() {
                let stage = lowering.stage(&nodes, first);
                stage.nodes.iter().for_each(|&node| lowering.stage_of[node] = Some(stages.len()));
                stages.push(stage);
            }
        }
        let outputs = outputs.iter().map(|&output| lowering.source(output)).collect();
        Self { nodes, stages, outputs }
    }
}

struct Lowering {
    /// The layers that read each layer.
    readers: Vec<Vec<usize>>,
    stage_of: Vec<Option<usize>>,
}

impl Lowering {
    /// The stage whose output a layer's is.
    fn source(&self, node: Source) -> Source {
        match node {
            Source::Images => Source::Images,
            Source::Of(node) => Source::Of(self.stage_of[node].unwrap_or(usize::MAX)),
        }
    }

    /// The only reader of a layer.
    fn next<'a>(&self, nodes: &'a [Node], node: usize) -> Option<(usize, &'a Node)> {
        match self.readers[node][..] {
            [reader] => nodes.get(reader).map(|node| (reader, node)),
            _ => None,
        }
    }

    /// The stage that begins at a layer, with all that follows it and can be taken in.
    fn stage(&self, nodes: &[Node], first: usize) -> Stage {
        let input = nodes[first].inputs.first().map_or(Source::Images, |&input| self.source(input));
        let mut stage = Stage {
            nodes: vec![first],
            op: nodes[first].op.clone(),
            input,
            activation: Activation::Linear,
            norm: None,
            skip: None,
            after: Activation::Linear,
            pool: false,
            dropout: None,
        };
        // A flattening before a dense layer is the order in which the layer reads.
        if matches!(stage.op, Op::Flatten)
            && let Some((next, node)) = self.next(nodes, first)
            && let Op::Dense(_) = node.op
        {
            stage.nodes.push(next);
            stage.op = node.op.clone();
        }
        let channels = match &stage.op {
            Op::Conv2d(conv) => {
                stage.activation = conv.activation;
                conv.weight.dims()[0]
            }
            Op::Dense(dense) => {
                stage.activation = dense.activation;
                dense.weight.dims()[0]
            }
            Op::GlobalMean => 0,
            Op::Sum => {
                stage.skip = nodes[first].inputs.get(1).map(|&input| self.source(input));
                return stage;
            }
            _ => return stage,
        };
        // An activation may stand on either side of the norm; where there is none, both sides are one.
        let mut last = stage.nodes[stage.nodes.len() - 1];
        let mut is_after = false;
        while let Some((next, node)) = self.next(nodes, last) {
            let has_tail = stage.pool || stage.dropout.is_some();
            match &node.op {
                Op::Activation(activation) if !has_tail => {
                    let side = if is_after { &mut stage.after } else { &mut stage.activation };
                    if *side != Activation::Linear {
                        break;
                    }
                    *side = *activation;
                }
                Op::BatchNorm(norm) if !has_tail && !is_after && norm.channels() == channels => {
                    if !stage.activation.is_told_by_its_output() {
                        break;
                    }
                    stage.norm = Some(norm.clone());
                    is_after = true;
                }
                Op::Sum if !has_tail && stage.skip.is_none() && stage.after == Activation::Linear => {
                    let other = node.inputs.iter().copied().find(|&input| input != Source::Of(last));
                    match other.map(|other| self.source(other)) {
                        None | Some(Source::Of(usize::MAX)) => break,
                        Some(other) => (stage.skip, is_after) = (Some(other), true),
                    }
                }
                Op::MaxPool2d(pool)
                    if !has_tail && pool.is_two_by_two() && matches!(stage.op, Op::Conv2d(_)) =>
                {
                    stage.pool = true;
                }
                Op::Dropout(mask) if stage.dropout.is_none() => stage.dropout = Some(*mask),
                _ => break,
            }
            stage.nodes.push(next);
            last = next;
        }
        // What its output does not tell is kept on the side that is computed again.
        if !stage.activation.is_told_by_its_output() && stage.norm.is_none() && stage.skip.is_none() {
            std::mem::swap(&mut stage.activation, &mut stage.after);
        }
        stage
    }
}
