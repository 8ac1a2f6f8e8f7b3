//! A look into a network at one of its layers, against finite differences.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarMap;
use fer_nn::{
    Activation, BatchNormConfig, GlobalMean, Graph, Layer, MeanPool2d, Mode, Network, batch_norm, conv2d,
    dense, var_builder,
};

/// Adds what it holds.
#[derive(Debug)]
struct Shift(Tensor);

impl Layer for Shift {
    fn forward(&self, xs: &Tensor, _mode: Mode) -> Result<Tensor> {
        xs.broadcast_add(&self.0)
    }
}

/// A residual network whose value before the probed layer is read behind it, with `shift` added to what that layer gives.
fn residual(vars: &VarMap, shift: Option<Tensor>) -> Result<Graph> {
    let vb = var_builder(vars, 42, &Device::Cpu);
    let conv = |inside, name: &str| conv2d(inside, 4, 3, Default::default(), vb.pp(name));
    let mut graph = Graph::new();
    let images = graph.images();
    let stem = graph.add(images, conv(1, "stem")?);
    let stem = graph.add(stem, Activation::Elu);
    let inner = graph.add(stem, conv(4, "inner")?);
    let inner = match shift {
        Some(shift) => graph.add(inner, Shift(shift)),
        None => inner,
    };
    let inner = graph.add(inner, batch_norm(4, BatchNormConfig::default(), vb.pp("norm"))?);
    let sum = graph.sum(stem, inner);
    let sum = graph.add(sum, Activation::Elu);
    let pooled = graph.add(sum, MeanPool2d::new(2, 2)?);
    let last = graph.add(pooled, conv(4, "last")?);
    let mean = graph.add(last, GlobalMean);
    graph.add(mean, dense(4, 3, Default::default(), vb.pp("out"))?);
    Ok(graph)
}

fn images() -> Result<Tensor> {
    let values: Vec<f32> = (0..2 * 64).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
    Tensor::from_vec(values, (2, 1, 8, 8), &Device::Cpu)
}

#[test]
fn a_look_gives_the_output_the_values_and_their_gradient() -> Result<()> {
    let vars = VarMap::new();
    let (graph, images) = (residual(&vars, None)?, images()?);
    assert_eq!(graph.last_convolution(), Some("last"));
    let scalar = |logits: &Tensor| logits.get_on_dim(1, 2)?.sum_all();
    let seen = graph.probe("inner")?.look(&images, &mut |logits| scalar(logits))?;
    let distance = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.max_all()?.to_scalar::<f32>();
    assert!(distance(&seen.output, &graph.forward(&images, Mode::Eval)?)? < 1e-5);

    // The same variables with a little more at one place of what the layer gives.
    let step = 0.02;
    let (_, channels, height, width) = seen.values.dims4()?;
    let gradient = seen.gradient.sum(0)?.flatten_all()?.to_vec1::<f32>()?;
    let shifted = |place: usize, by: f32| -> Result<f32> {
        let mut shift = vec![0.0; channels * height * width];
        shift[place] = by;
        let shift = Tensor::from_vec(shift, (1, channels, height, width), &Device::Cpu)?;
        scalar(&residual(&vars, Some(shift))?.forward(&images, Mode::Eval)?)?.to_scalar()
    };
    let largest = gradient.iter().fold(0.0, |most: f32, g| most.max(g.abs()));
    for place in (0..gradient.len()).step_by(29) {
        let difference = (shifted(place, step)? - shifted(place, -step)?) / (2.0 * step);
        assert!(
            (difference - gradient[place]).abs() < 0.01 * largest,
            "{place}: {difference}, not {}",
            gradient[place]
        );
    }
    Ok(())
}

#[test]
fn any_layer_can_be_looked_at_and_others_are_named() -> Result<()> {
    let vars = VarMap::new();
    let graph = residual(&vars, None)?;
    let images = images()?;
    let expected = graph.forward(&images, Mode::Eval)?;
    let names = graph.layers(images.dims())?.into_iter().map(|layer| layer.name);
    for name in names.collect::<Vec<_>>() {
        let seen = graph.probe(&name)?.look(&images, &mut |logits| logits.sqr()?.sum_all())?;
        assert!((&seen.output - &expected)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-5, "{name}");
        assert_eq!(seen.values.dims(), seen.gradient.dims(), "{name}");
    }
    // The gradient at the output is that of the scalar itself.
    let seen = graph.probe("out")?.look(&images, &mut |logits| logits.sqr()?.sum_all())?;
    assert!((seen.gradient - (expected * 2.0)?)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-5);
    let error = graph.probe("sten").unwrap_err().to_string();
    assert!(error.starts_with("no layer `sten`; there are stem, activation_1, inner"), "{error}");
    let images = images.to_dtype(DType::U8)?;
    assert!(graph.probe("stem")?.look(&images, &mut |logits| logits.sum_all()).is_ok());
    Ok(())
}
