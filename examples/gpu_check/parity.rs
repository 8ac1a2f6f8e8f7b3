//! Parity with the CPU.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;
use fer::DeviceLoader;
use fer::augment::Augment;
use fer::data::{Dataset, Loader, LoaderConfig};
use fer::nn::on_device::{EpochPlan, Update};
use fer::nn::{
    Activation, BatchNormConfig, Compute, Conv2dConfig, DenseConfig, Mode, Network, Padding, Precision, Step,
};
use fer::train::{BatchLog, Callback, LossConfig, TrainConfig, Trainer, cross_entropy};

use crate::{Check, Failure, dcnn, random, samples, training};

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
            let config = Conv2dConfig { padding, activation, stride: 1 };
            let shapes: [&[usize]; 3] = [&[n, c, side, side], &[k, c, kernel, kernel], &[k]];
            operation(check, &format!("conv2d {padding:?} {activation:?}"), &shapes, &|x| {
                fer::nn::Conv2d::new(x[1].clone(), x[2].clone(), config)?.forward(&x[0])
            })?;
        }
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

/// Every gradient of one step of the whole network, in each precision, beside the CPU's in f32.
pub fn gradients(check: &mut Check) -> Result<(), Failure> {
    const FACES: usize = 32;
    // Changes nothing and leaves the gradient in the first moment.
    let observe = Update { new_in_mean: 1.0, epsilon: 1.0, ..Default::default() };
    let samples = samples(FACES, FACES)?;
    let plan = EpochPlan {
        order: (0..FACES as u32).collect(),
        warps: vec![Default::default(); FACES],
        tones: Vec::new(),
    };
    let cpu = VarMap::new();
    let net = dcnn(&cpu, &Device::Cpu, Compute::default())?;
    let pixels: Vec<f32> = samples.pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let images = Tensor::from_vec(pixels, (FACES, 1, 48, 48), &Device::Cpu)?;
    let labels = Tensor::new(samples.labels.as_slice(), &Device::Cpu)?;
    let wanted = net.gradients(&images, Step { seed: 42, epoch: 0, step: 0 }, &mut |logits| {
        cross_entropy(logits, &labels, &LossConfig::default()).map_err(candle_core::Error::wrap)
    })?;
    // Some of a million maxima are of values so close that rounding decides where they are found, and the gradients
    // before them move with them; those after the last maximum do not.
    let bounds = [(Precision::F32, 1e-4, 1e-2), (Precision::Tf32, 1e-2, 0.1), (Precision::Bf16, 0.1, 0.3)];
    for (precision, of_dense, of_all) in bounds {
        let card = VarMap::new();
        let net = dcnn(&card, &check.device, Compute { precision, deterministic: false })?;
        let mut training = training(&net, &samples)?;
        training.train(0, 0, &plan, &[observe])?;
        let moments = training.moments()?;
        let (cpu, card) =
            (cpu.data().lock().map_err(|_| "poisoned")?, card.data().lock().map_err(|_| "poisoned")?);
        let mut pairs = Vec::new();
        for (name, var) in card.iter() {
            let Some(wanted) = wanted.get(&cpu[name]) else { continue };
            let found = moments.iter().find(|moments| moments.variable == var.id());
            let found = found.ok_or_else(|| format!("{name} has no gradient on the card"))?;
            let found = found.m.to_device(&Device::Cpu)?;
            let is_dense =
                ["dense_1", "batchnorm_7", "out_layer"].iter().any(|layer| name.starts_with(layer));
            pairs.push((is_dense, norm(&(found - wanted)?)?, norm(wanted)?));
        }
        // A bias before a normalisation has a gradient of nothing but rounding.
        let largest = pairs.iter().fold(0.0_f64, |largest, (.., norm)| largest.max(*norm));
        for (what, only_dense, most) in [("dense", true, of_dense), ("all", false, of_all)] {
            let chosen = pairs.iter().filter(|(is_dense, ..)| *is_dense || !only_dense);
            let errors = chosen.map(|(_, error, norm)| error / norm.max(0.1 * largest));
            let worst = errors.fold(0.0, f64::max);
            check.distance(
                &format!("gradients of a step in {precision}, {what} layers, the worst"),
                worst,
                most,
            )?;
        }
    }
    Ok(())
}

/// Twenty steps of the notebook's training, augmentation and dropout on, beside the CPU's.
pub fn steps(check: &mut Check) -> Result<(), Failure> {
    let (wanted, wanted_logits) = trained(&Device::Cpu, Compute::default())?;
    let bounds = [(Precision::F32, 1e-3, 2e-2), (Precision::Tf32, 2e-2, 0.2), (Precision::Bf16, 5e-2, 0.5)];
    for (precision, of_loss, of_logits) in bounds {
        for deterministic in [true, false] {
            let compute = Compute { precision, deterministic };
            let algorithms = if deterministic { "deterministic" } else { "fastest" };
            let (losses, logits) = trained(&check.device, compute)?;
            let distances = losses.iter().zip(&wanted).map(|(a, b)| ((a - b) / b).abs());
            let largest = distances.fold(0.0, f64::max);
            let what = format!("20 training steps in {precision}, {algorithms}");
            check.distance(&format!("{what}, loss"), largest, of_loss)?;
            check.distance(
                &format!("{what}, logits after them"),
                relative(&logits, &wanted_logits)?,
                of_logits,
            )?;
            if deterministic {
                let (again, _) = trained(&check.device, compute)?;
                check.distance(
                    &format!("{what}, again: bits that differ"),
                    f64::from(u8::from(again != losses)),
                    0.0,
                )?;
            }
        }
    }
    Ok(())
}

/// Few steps and one inference: for a memory checker, under which all is slow.
pub fn short(check: &mut Check) -> Result<(), Failure> {
    for precision in [Precision::F32, Precision::Bf16] {
        let (losses, _) = trained_on(&check.device, Compute { precision, deterministic: true }, 40, 2)?;
        check.distance(
            &format!("a short training in {precision}"),
            f64::from(u8::from(losses.iter().any(|l| !l.is_finite()))),
            0.0,
        )?;
    }
    Ok(())
}

fn norm(t: &Tensor) -> Result<f64, Failure> {
    Ok(t.to_dtype(candle_core::DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
}

/// `‖a − b‖ / ‖b‖`, of tensors on the CPU.
fn relative(a: &Tensor, b: &Tensor) -> Result<f64, Failure> {
    Ok(norm(&(a - b)?)? / norm(b)?.max(1e-12))
}

/// Keeps the mean loss after every batch.
#[derive(Default)]
struct Losses(Vec<f64>);

impl Callback for Losses {
    fn name(&self) -> &'static str {
        "losses"
    }

    fn on_batch_end(&mut self, log: &BatchLog) {
        self.0.push(log.loss);
    }
}

/// The losses of twenty steps of the notebook's training on drawn faces, and the logits of some images after them.
fn trained(device: &Device, compute: Compute) -> Result<(Vec<f64>, Tensor), Failure> {
    trained_on(device, compute, 20 * 32, 1)
}

fn trained_on(
    device: &Device,
    compute: Compute,
    faces: usize,
    epochs: u32,
) -> Result<(Vec<f64>, Tensor), Failure> {
    let weights = VarMap::new();
    let net = dcnn(&weights, device, compute)?;
    let loader = Loader::new(Dataset::drawn(faces, 42), LoaderConfig::default())?;
    let train = DeviceLoader::new(loader, device.clone()).augmented(Augment::new(Default::default())?);
    let mut losses = Losses::default();
    let trainer = Trainer::new(TrainConfig { epochs, ..Default::default() })?;
    trainer.fit(&net, &weights, &train, None, &mut [&mut losses])?;
    let images = random(&[8, 1, 48, 48], 7, device)?;
    Ok((losses.0, net.forward(&images, Mode::Eval)?.to_device(&Device::Cpu)?))
}
