// The arguments of a stage's kernels, and what becomes of the sums that they take.
#pragma once
#include "simt.cuh"

enum Activation : u32 { LINEAR, RELU, ELU, LEAKY_RELU, SILU, SIGMOID };

// Where a training stands. It lives on the card, so that a replayed graph goes on instead of repeating itself.
struct State {
    u64 seed;
    u32 epoch, step;
};

struct StageArgs {
    const void* c;   // the convolution's result
    void* z;         // the stage's output, or its gradient
    void* da;        // the gradient of the convolution's result
    const void* skip;   // what is added, in the result's shape; nothing where null
    void* dskip;        // its gradient; not wanted where null
    const float* bias;  // none where null
    const float *gamma, *beta;
    float *running_mean, *running_var;
    double* moments;  // (2, channels): mean and 1/√(variance + ε), or, without gamma, mean and variance
    float* norm;      // (3, channels): center, scale, shift
    float* slopes;    // (3, channels): scale, slope, constant
    float *dgamma, *dbeta, *dbias;
    const State* state;
    double* partial;  // what the blocks of a kernel that adds up leave
    double momentum, epsilon;
    double correction;  // of the variance that enters the moving variance
    u32 batch, height, width, channels;
    u32 pool, activation, after;
    float slope, after_slope;  // of leaky ReLUs below 0
    u32 skip_half;             // whether what is added is bf16
    u32 adds_skip;             // whether its gradient is added to what is there
    u32 dropout;               // whether there is any
    u32 purpose, threshold;
    float kept;  // 1/(1 − rate)
    u32 blocks;  // that left sums
};

// The mean rounded to f32 is what values are measured from; what the rounding left goes into the constant terms.
__device__ inline void write_norm(const StageArgs& a, u32 channel, double mean, double variance) {
    const double inv_std = 1 / sqrt(variance + a.epsilon), scale = a.gamma[channel] * inv_std;
    const float center = float(mean);
    a.norm[channel] = center;
    a.norm[a.channels + channel] = float(scale);
    a.norm[2 * a.channels + channel] = float(a.beta[channel] - (mean - center) * scale);
    a.moments[channel] = mean;
    a.moments[a.channels + channel] = inv_std;
}

__device__ inline void take_moments(const StageArgs& a, u32 channel, double mean, double variance) {
    if (!a.gamma) {
        a.moments[channel] = mean;
        a.moments[a.channels + channel] = variance;
        return;
    }
    write_norm(a, channel, mean, variance);
    auto take = [&](float& moving, double value) { moving = moving * float(a.momentum) + float(value * (1 - a.momentum)); };
    take(a.running_mean[channel], mean);
    take(a.running_var[channel], variance * a.correction);
}

// From Σ dn and Σ dn·(y − center): the gradients of gamma and beta, and the factors of the input's gradient.
__device__ inline void take_gradient_sums(const StageArgs& a, u32 channel, double gradients, double products) {
    if (!a.gamma) {
        a.moments[channel] = products;
        a.moments[a.channels + channel] = gradients;
        return;
    }
    const double mean = a.moments[channel], inv_std = a.moments[a.channels + channel];
    const double rest = mean - float(mean), scale = a.gamma[channel] * inv_std;
    const double count = double(a.batch) * a.height * a.width;
    const double of_gamma = (products - rest * gradients) * inv_std;
    const double slope = -scale * inv_std * of_gamma / count;
    a.dgamma[channel] = float(of_gamma);
    a.dbeta[channel] = float(gradients);
    a.slopes[channel] = float(scale);
    a.slopes[a.channels + channel] = float(slope);
    a.slopes[2 * a.channels + channel] = float(-scale * gradients / count - slope * rest);
}
