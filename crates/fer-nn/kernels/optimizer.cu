// Adam and Nadam, all parameters of a network in one launch; see fer-train's `Optimizer` for the factors.
#include "stage.cuh"

struct Update { float new_in_mean, new_in_square, of_mean, of_gradient, of_square, epsilon; };

struct OptimizerArgs {
    float *weights, *m, *v;
    const float* gradients;
    const bf16* half_gradients;  // of the first `halves` parameters
    bf16* half_weights;          // likewise: the copies that convolutions read
    const Update* updates;       // one a step of the epoch
    State* state;
    u32* tickets;  // one, 0 between kernels
    u32 parameters, halves;
};

__device__ void optimizer(const OptimizerArgs& a) {
    const Update u = a.updates[a.state->step];
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < a.parameters; i += gridDim.x * blockDim.x) {
        const float g = i < a.halves ? to_float(a.half_gradients[i]) : a.gradients[i];
        const float m = a.m[i] + (g - a.m[i]) * u.new_in_mean;
        const float v = a.v[i] + (g * g - a.v[i]) * u.new_in_square;
        const float w = a.weights[i] - (u.of_mean * m + u.of_gradient * g) / (sqrtf(u.of_square * v) + u.epsilon);
        a.m[i] = m;
        a.v[i] = v;
        a.weights[i] = w;
        if (i < a.halves) from_float(w, a.half_weights[i]);
    }
    // The block that ends last ends the step.
    __syncthreads();
    if (threadIdx.x != 0 || atomicAdd(a.tickets, 1u) != gridDim.x - 1) return;
    *a.tickets = 0;
    a.state->step += 1;
}
KERNEL(optimizer_f32, OptimizerArgs, optimizer)
