// One step of an optimiser, all parameters of a network in one launch; see `Update` of engine.rs for the formulas.
#include "stage.cuh"

struct Update {
    float new_in_mean, new_in_square, of_mean, of_gradient, of_square, epsilon;
    float momentum, decay, shrink, clip, new_in_average;
};

enum Rule : u32 { ADAPTIVE, MOMENTUM };

struct OptimizerArgs {
    float *weights, *m, *v;
    float* averages;  // none where null, and so for the states
    float *states, *state_averages;
    const float* gradients;
    const bf16* half_gradients;  // of the first `halves` parameters
    bf16* half_weights;          // likewise: the copies that convolutions read
    const Update* updates;       // one a step of the epoch
    double* norm;                // of all gradients; null where they are not clipped
    State* state;
    double* partial;  // what the blocks of `gradient_norm` leave
    u32* ticket;      // 0 between kernels
    u32 parameters, halves;
    u32 decayed;  // parameters, from the first on, that decay
    u32 state_count;
    u32 rule;
    u32 blocks;  // of `gradient_norm`
};

__device__ inline float gradient(const OptimizerArgs& a, u32 i) {
    return i < a.halves ? to_float(a.half_gradients[i]) : a.gradients[i];
}

// The norm of all gradients together; a block is a column of threads.
__device__ void gradient_norm(const OptimizerArgs& a) {
    double sums[2] = {};
    for (u32 i = blockIdx.x * blockDim.y + threadIdx.y; i < a.parameters; i += gridDim.x * blockDim.y) {
        const double g = gradient(a, i);
        sums[0] += g * g;
    }
    leave_sums(sums, 0, 1, a.partial);
}
KERNEL(gradient_norm_f32, OptimizerArgs, gradient_norm)

__device__ void total_norm(const OptimizerArgs& a) {
    double sums[2];
    if (total_sums(a.partial, a.blocks, 0, 1, sums)) *a.norm = sqrt(sums[0]);
}
KERNEL(total_norm_f32, OptimizerArgs, total_norm)

__device__ void optimizer(const OptimizerArgs& a) {
    const Update u = a.updates[a.state->step];
    const double within = a.norm && u.clip > 0 ? u.clip / (*a.norm + 1e-6) : 1;
    const float factor = within < 1 ? float(within) : 1;
    const u32 first = blockIdx.x * blockDim.x + threadIdx.x, stride = gridDim.x * blockDim.x;
    auto average = [&](float* averages, u32 i, float value) { averages[i] += (value - averages[i]) * u.new_in_average; };
    for (u32 i = first; i < a.parameters; i += stride) {
        const bool decays = i < a.decayed;
        const float before = a.weights[i];
        float g = gradient(a, i) * factor, w;
        if (decays && u.decay != 0) g += u.decay * before;
        if (a.rule == MOMENTUM) {
            const float m = u.momentum * a.m[i] + g;
            w = before - (u.of_mean * m + u.of_gradient * g);
            a.m[i] = m;
        } else {
            const float m = a.m[i] + (g - a.m[i]) * u.new_in_mean;
            const float v = a.v[i] + (g * g - a.v[i]) * u.new_in_square;
            w = before - (u.of_mean * m + u.of_gradient * g) / (sqrtf(u.of_square * v) + u.epsilon);
            a.m[i] = m;
            a.v[i] = v;
        }
        if (decays && u.shrink != 0) w -= u.shrink * before;
        a.weights[i] = w;
        if (i < a.halves) from_float(w, a.half_weights[i]);
        if (a.averages) average(a.averages, i, w);
    }
    for (u32 i = first; a.averages && i < a.state_count; i += stride) average(a.state_averages, i, a.states[i]);
    // The block that ends last ends the step.
    __syncthreads();
    if (threadIdx.x != 0 || atomicAdd(a.ticket, 1u) != gridDim.x - 1) return;
    *a.ticket = 0;
    a.state->step += 1;
}
KERNEL(optimizer_f32, OptimizerArgs, optimizer)
