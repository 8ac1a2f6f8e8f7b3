//! The number of threads changes no bit.

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use fer_nn::{
    Activation, BatchNormConfig, Conv2dConfig, DenseConfig, Flatten, Layer, MaxPool2d, Mode, Network,
    Sequential, Step, batch_norm, conv2d, dense, dropout, var_builder,
};

use crate::compare::{Random, values, var};

/// Every layer.
fn layers(
    (side, kernel, filters, stride): (usize, usize, usize, usize),
    vb: &VarBuilder,
) -> candle_core::Result<Vec<Arc<dyn Layer>>> {
    let norm = |channels, name: &str| {
        batch_norm(channels, BatchNormConfig::default(), vb.pp(name))
            .map(|norm| Arc::new(norm) as Arc<dyn Layer>)
    };
    let elu = Conv2dConfig { activation: Activation::Elu, stride, ..Default::default() };
    let features = filters * (side.div_ceil(stride).div_ceil(stride) / 2).pow(2);
    let of_dense = DenseConfig { activation: Activation::Elu, ..Default::default() };
    Ok(vec![
        Arc::new(conv2d(3, filters, kernel, elu, vb.pp("conv_1"))?),
        norm(filters, "norm_1")?,
        Arc::new(conv2d(filters, filters, kernel, elu, vb.pp("conv_2"))?),
        norm(filters, "norm_2")?,
        Arc::new(MaxPool2d::new(2, 2)?),
        Arc::new(dropout(0.4, "dropout_1")?),
        Arc::new(Flatten),
        Arc::new(dense(features, 130, of_dense, vb.pp("dense_1"))?),
        norm(130, "norm_3")?,
        Arc::new(dense(130, 3, DenseConfig::default(), vb.pp("out"))?),
    ])
}

/// Output, gradients and moving statistics of one step through every layer, in turn or as a sequence.
fn step(batch: usize, sizes: (usize, usize, usize, usize), in_turn: bool) -> Vec<Vec<u32>> {
    let vars = VarMap::new();
    let layers = layers(sizes, &var_builder(&vars, 42, &Device::Cpu)).unwrap();
    let x = var(&Random::new(9).array(&[batch, 3, sizes.0, sizes.0]));
    let bits = |tensor: &Tensor| values(tensor).iter().map(|v| v.to_bits()).collect();
    let mut all = Vec::new();
    let step = Step { seed: 1, epoch: 2, step: 3 };
    let mut loss = |y: &Tensor| {
        all.push(bits(y));
        y.sqr()?.sum_all()
    };
    let gradients = if in_turn {
        let forward = |xs: Tensor, layer: &Arc<dyn Layer>| layer.forward(&xs, Mode::Train(step));
        let y = layers.iter().try_fold(x.as_tensor().clone(), forward).unwrap();
        loss(&y).unwrap().backward().unwrap()
    } else {
        let mut net = Sequential::new();
        layers.into_iter().for_each(|layer| net.push(layer));
        net.gradients(&x, step, &mut loss).unwrap()
    };
    all.extend(gradients.get(&x).map(bits));
    let mut named: Vec<(String, Var)> =
        vars.data().lock().unwrap().iter().map(|(name, var)| (name.clone(), var.clone())).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, var) in &named {
        all.push(bits(var));
        all.extend(gradients.get(var).map(bits));
    }
    all
}

#[test]
fn results_are_the_same_to_the_bit_on_one_two_and_three_threads() {
    for (batch, side, kernel, filters, stride) in
        [(1, 8, 3, 5, 1), (5, 12, 5, 16, 1), (7, 9, 3, 33, 1), (33, 16, 3, 8, 1), (3, 17, 5, 6, 2)]
    {
        for in_turn in [true, false] {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| step(batch, (side, kernel, filters, stride), in_turn))
            };
            let one = on(1);
            assert!(one.iter().flatten().all(|&bits| f32::from_bits(bits).is_finite()));
            for threads in [2, 3] {
                assert!(on(threads) == one, "batch {batch}, side {side}, kernel {kernel}: {threads} threads");
            }
        }
    }
}
