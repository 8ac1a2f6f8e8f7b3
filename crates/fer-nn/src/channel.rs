//! What a batch normalisation does to one channel.

/// What one channel is normalised by: x̂ = (x − mean)·inv_std.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel {
    pub mean: f64,
    pub inv_std: f64,
    pub gamma: f64,
}

/// What each channel is normalised by, given the means, variances and gammas.
pub(crate) fn constants(mean: &[f64], var: &[f64], gamma: &[f32], epsilon: f64) -> Vec<Channel> {
    let channel = |((&gamma, &mean), &var): ((&f32, &f64), &f64)| {
        let inv_std = (var + epsilon).sqrt().recip();
        Channel { mean, inv_std, gamma: f64::from(gamma) }
    };
    gamma.iter().zip(mean).zip(var).map(channel).collect()
}

impl Channel {
    /// What values are measured from.
    pub fn center(&self) -> f32 {
        self.mean as f32
    }

    /// What the centre leaves of the mean.
    fn rest(&self) -> f64 {
        self.mean - f64::from(self.center())
    }

    /// `scale` and `shift` of `y = (x − center)·scale + shift`.
    pub fn affine(&self, beta: f32) -> [f32; 2] {
        let scale = self.gamma * self.inv_std;
        [scale as f32, (f64::from(beta) - self.rest() * scale) as f32]
    }

    /// (Σ dy·x̂, Σ dy) from Σ dy·(x − center) and Σ dy.
    pub fn gradient_sums(&self, products: f64, gradients: f64) -> (f64, f64) {
        ((products - self.rest() * gradients) * self.inv_std, gradients)
    }

    /// `scale`, `slope` and `constant` of the input's gradient `scale·dy + slope·(x − center) + constant`, from
    /// (Σ dy·x̂, Σ dy) over `count` values. An infinite `count` leaves the sums out.
    pub fn input_gradient(&self, sums: (f64, f64), count: f64) -> [f32; 3] {
        let scale = self.gamma * self.inv_std;
        let slope = -scale * self.inv_std * sums.0 / count;
        let constant = -scale * sums.1 / count - slope * self.rest();
        [scale as f32, slope as f32, constant as f32]
    }
}
