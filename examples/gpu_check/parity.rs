//! Parity with the CPU.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;
use fer::model::Architecture;
use fer::nn::engine::{EpochPlan, Treatment, Update};
use fer::nn::{
    Activation, BatchNormConfig, Compute, Conv2dConfig, DenseConfig, MeanPool2d, Mode, Network, Padding,
    Precision, Seen, Step,
};
use fer::train::{LossConfig, cross_entropy};

use crate::{Check, Failure, architectures, network, random, samples, training};

/// A layer as a function of variables.
type Operation<'a> = &'a dyn Fn(&[Tensor]) -> candle_core::Result<Tensor>;

/// Output and gradients of an operation on the CPU and on the card.
fn operation(
    check: &mut Check,
    what: &str,
    shapes: &[&[usize]],
    operation: Operation,
) -> Result<(), Failure> {
    let results = |device: &Device| -> Result<Vec<Tensor>, Failure> {
        let inputs = shapes.iter().zip(1..).map(|(shape, i)| Var::from_tensor(&random(shape, i, device)?));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
        let y = operation(&tensors)?;
        let factors = random(y.dims(), 99, device)?;
        let gradients: GradStore = (&y * factors)?.sum_all()?.backward()?;
        let of_inputs = inputs.iter().filter_map(|var| gradients.get(var).cloned());
        let all = std::iter::once(y.detach()).chain(of_inputs);
        all.map(|tensor| Ok(tensor.to_device(&Device::Cpu)?)).collect()
    };
    let (found, wanted) = (results(&check.device)?, results(&Device::Cpu)?);
    for (i, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        let part = if i == 0 { "output".to_owned() } else { format!("gradient {i}") };
        check.distance(&format!("{what} {:?}, {part}", shapes[0]), relative(found, wanted)?, 1e-4)?;
    }
    Ok(())
}

/// Every layer of fer-nn, called by itself, over shapes that vectors fill and shapes that they do not.
pub fn operations(check: &mut Check) -> Result<(), Failure> {
    for (n, c, k, side, kernel) in
        [(32, 1, 64, 48, 5), (8, 64, 128, 24, 3), (3, 5, 7, 11, 3), (2, 3, 6, 9, 4)]
    {
        for (padding, activation) in [(Padding::Same, Activation::Elu), (Padding::Valid, Activation::Relu)] {
            let config = Conv2dConfig { padding, activation, ..Default::default() };
            let shapes: [&[usize]; 3] = [&[n, c, side, side], &[k, c, kernel, kernel], &[k]];
            operation(check, &format!("conv2d {padding:?} {activation:?}"), &shapes, &|x| {
                fer::nn::Conv2d::new(x[1].clone(), Some(x[2].clone()), config)?.forward(&x[0])
            })?;
        }
        for (stride, groups) in [(2, 1), (1, c)] {
            let (padding, bias) = (Padding::all(kernel / 2), false);
            let config = Conv2dConfig { padding, stride, groups, bias, ..Default::default() };
            let shapes: [&[usize]; 2] = [&[n, c, side, side], &[c * 2, c / groups, kernel, kernel]];
            operation(check, &format!("conv2d, stride {stride}, {groups} groups"), &shapes, &|x| {
                fer::nn::Conv2d::new(x[1].clone(), None, config)?.forward(&x[0])
            })?;
        }
        operation(check, "mean_pool2d 3, stride 2, same", &[&[n, c, side, side]], &|x| {
            candle_core::Module::forward(&MeanPool2d::new(3, 2)?.padding(Padding::Same), &x[0])
        })?;
        operation(check, "max_pool2d 2", &[&[n, c, side, side]], &|x| fer::nn::max_pool2d(&x[0], 2, 2))?;
        operation(check, "max_pool2d 3, stride 1", &[&[n, c, side, side]], &|x| {
            fer::nn::max_pool2d(&x[0], 3, 1)
        })?;
        let dropout = fer::nn::dropout(0.4, "check")?;
        let train = Mode::Train(Step { seed: 42, epoch: 3, step: 17 });
        operation(check, "dropout", &[&[n, c, side, side]], &|x| dropout.forward(&x[0], train))?;
        for mode in [train, Mode::Eval] {
            let name = if mode == Mode::Eval { "batch_norm, moving" } else { "batch_norm, batch" };
            operation(check, name, &[&[n, c, side, side]], &|x| {
                let vars = VarMap::new();
                let vb = fer::nn::var_builder(&vars, 42, x[0].device());
                fer::nn::batch_norm(c, BatchNormConfig::default(), vb)?.forward(&x[0], mode)
            })?;
        }
        let elu = DenseConfig { activation: Activation::Elu, ..Default::default() };
        operation(check, "dense", &[&[n, k * c]], &|x| {
            let vars = VarMap::new();
            fer::nn::dense(k * c, k, elu, fer::nn::var_builder(&vars, 42, x[0].device()))?.forward(&x[0])
        })?;
    }
    Ok(())
}

/// Every gradient of one step of whole networks, in each precision, beside the CPU's in f32.
pub fn gradients(check: &mut Check) -> Result<(), Failure> {
    for (name, architecture) in architectures() {
        gradients_of(check, name, &architecture)?;
    }
    Ok(())
}

fn gradients_of(check: &mut Check, name: &str, architecture: &Architecture) -> Result<(), Failure> {
    const FACES: usize = 32;
    // Changes nothing and leaves the gradient in the first moment.
    let observe = Update { new_in_mean: 1.0, epsilon: 1.0, ..Default::default() };
    let samples = samples(FACES, FACES)?;
    let plan = EpochPlan { order: (0..FACES as u32).collect(), ..Default::default() };
    let cpu = VarMap::new();
    let net = network(architecture, &cpu, &Device::Cpu, Compute::default())?;
    let pixels: Vec<f32> = samples.pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let images = Tensor::from_vec(pixels, (FACES, 1, 48, 48), &Device::Cpu)?;
    let targets = Tensor::from_vec(samples.targets.clone(), (FACES, 3), &Device::Cpu)?;
    let wanted = net.gradients(&images, Step { seed: 42, epoch: 0, step: 0 }, &mut |logits| {
        cross_entropy(logits, &targets, &LossConfig::default()).map_err(candle_core::Error::wrap)
    })?;
    // Some of a million maxima, and signs before a ReLU, are of values so close that rounding decides them, and the
    // gradients before them move with them; those after the last of them do not.
    let bounds = [(Precision::F32, 1e-4, 1e-2), (Precision::Tf32, 1e-2, 0.1), (Precision::Bf16, 0.1, 0.3)];
    for (precision, of_dense, of_all) in bounds {
        let card = VarMap::new();
        let net = network(architecture, &card, &check.device, Compute { precision, deterministic: false })?;
        let mut training = training(&net, &samples, Treatment::default())?;
        training.begin(0, &plan)?;
        training.train(0..1, &[observe])?;
        let slots = training.slots()?;
        let (cpu, card) =
            (cpu.data().lock().map_err(|_| "poisoned")?, card.data().lock().map_err(|_| "poisoned")?);
        let mut pairs = Vec::new();
        for (variable, var) in card.iter() {
            let Some(wanted) = wanted.get(&cpu[variable]) else { continue };
            let found =
                slots.iter().find(|slots| slots.variable == var.id()).and_then(|slots| slots.m.clone());
            let found = found.ok_or_else(|| format!("{variable} has no gradient on the card"))?;
            let found = found.to_device(&Device::Cpu)?;
            let is_dense =
                ["dense_1", "batchnorm_7", "out_layer"].iter().any(|layer| variable.starts_with(layer));
            pairs.push((is_dense, norm(&(found - wanted)?)?, norm(wanted)?));
        }
        // A bias before a normalisation has a gradient of nothing but rounding.
        let largest = pairs.iter().fold(0.0_f64, |largest, (.., norm)| largest.max(*norm));
        for (what, only_dense, most) in [("dense", true, of_dense), ("all", false, of_all)] {
            let chosen = pairs.iter().filter(|(is_dense, ..)| *is_dense || !only_dense);
            let errors = chosen.map(|(_, error, norm)| error / norm.max(0.1 * largest));
            let worst = errors.fold(0.0, f64::max);
            check.distance(
                &format!("gradients of a step of {name} in {precision}, {what} layers, the worst"),
                worst,
                most,
            )?;
        }
    }
    Ok(())
}

/// What Grad-CAM reads of each network's last convolution, beside the CPU's.
pub fn explanations(check: &mut Check) -> Result<(), Failure> {
    for (name, architecture) in architectures() {
        let seen = |device: &Device| -> Result<Seen, Failure> {
            let compute = Compute { precision: Precision::F32, deterministic: true };
            let net = network(&architecture, &VarMap::new(), device, compute)?;
            let layer = net.last_convolution().ok_or("a network without a convolution")?;
            let images = random(&[4, 1, 48, 48], 7, device)?;
            Ok(net.probe(layer)?.look(&images, &mut |logits| logits.narrow(1, 0, 1)?.sum_all())?)
        };
        let (found, wanted) = (seen(&check.device)?, seen(&Device::Cpu)?);
        // Rounding decides some signs before a ReLU and some maxima, which the gradient passes.
        for (part, found, wanted, most) in [
            ("output", found.output, wanted.output, 1e-4),
            ("values", found.values, wanted.values, 1e-4),
            ("gradient", found.gradient, wanted.gradient, 1e-2),
        ] {
            let found = found.to_device(&Device::Cpu)?;
            check.distance(&format!("Grad-CAM of {name}, {part}"), relative(&found, &wanted)?, most)?;
        }
    }
    Ok(())
}

pub fn norm(t: &Tensor) -> Result<f64, Failure> {
    Ok(t.to_dtype(candle_core::DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
}

/// `‖a − b‖ / ‖b‖`, of tensors on the CPU.
pub fn relative(a: &Tensor, b: &Tensor) -> Result<f64, Failure> {
    Ok(norm(&(a - b)?)? / norm(b)?.max(1e-12))
}
