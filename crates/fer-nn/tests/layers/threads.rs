//! The number of threads changes no bit.

use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;
use fer_nn::{
    Activation, BatchNormConfig, Conv2dConfig, DenseConfig, Mode, Step, batch_norm, conv2d, dense, dropout,
    max_pool2d, var_builder,
};

use crate::compare::{Random, values, var};

/// Output, gradients and moving statistics of one step through every layer.
fn step(batch: usize, side: usize, kernel: usize, filters: usize, stride: usize) -> Vec<Vec<u32>> {
    let vars = VarMap::new();
    let vb = var_builder(&vars, 42, &Device::Cpu);
    let elu = Conv2dConfig { activation: Activation::Elu, stride, ..Default::default() };
    let forward = |x: &Tensor| -> candle_core::Result<Tensor> {
        let mode = Mode::Train(Step { seed: 1, epoch: 2, step: 3 });
        let norm = |name: &str| batch_norm(filters, BatchNormConfig::default(), vb.pp(name));
        let x = conv2d(3, filters, kernel, elu, vb.pp("conv_1"))?.forward(x)?;
        let x = norm("norm_1")?.forward(&x, mode)?;
        let x = conv2d(filters, filters, kernel, elu, vb.pp("conv_2"))?.forward(&x)?;
        let x = max_pool2d(&norm("norm_2")?.forward(&x, mode)?, 2, 2)?;
        let x = dropout(0.4, "dropout_1")?.forward(&x, mode)?.flatten_from(1)?;
        let elu = DenseConfig { activation: Activation::Elu, initializer: None };
        let x = dense(x.dims()[1], 130, elu, vb.pp("dense_1"))?.forward(&x)?;
        let x = batch_norm(130, BatchNormConfig::default(), vb.pp("norm_3"))?.forward(&x, mode)?;
        dense(130, 3, DenseConfig::default(), vb.pp("out"))?.forward(&x)
    };
    let x = var(&Random::new(9).array(&[batch, 3, side, side]));
    let y = forward(&x).unwrap();
    let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let bits = |tensor: &Tensor| values(tensor).iter().map(|v| v.to_bits()).collect();
    let mut all = vec![bits(&y), bits(gradients.get(&x).unwrap())];
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
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| step(batch, side, kernel, filters, stride))
        };
        let one = on(1);
        assert!(one.iter().flatten().all(|&bits| f32::from_bits(bits).is_finite()));
        for threads in [2, 3] {
            assert!(on(threads) == one, "batch {batch}, side {side}, kernel {kernel}: {threads} threads");
        }
    }
}
