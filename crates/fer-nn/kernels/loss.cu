// Categorical cross-entropy of logits and targets, its gradient, and how many predictions are right. One block.
#include "stage.cuh"

struct LossArgs {
    const float* c;  // (batch, classes): the logits without the bias
    const float* bias;           // none where null
    const float* targets;        // (batch, classes): the shares of a sample's classes
    const float* class_weights;  // none where null
    float* dlogits;              // as c; none where null
    float* dbias;                // none where null
    double* losses;  // one a step: the sum over the batch
    u32* correct;    // one a step
    State* state;
    float smoothing;
    u32 batch, classes;
    u32 last;  // whether the step ends here
};

__device__ void cross_entropy(const LossArgs& a) {
    const u32 thread = threadIdx.x, step = a.state->step;
    double loss = 0, hits = 0;
    for (u32 sample = thread; sample < a.batch; sample += blockDim.x) {
        const float* c = a.c + size_t(sample) * a.classes;
        const float* shares = a.targets + size_t(sample) * a.classes;
        auto logit = [&](u32 k) { return a.bias ? c[k] + a.bias[k] : c[k]; };
        // The first of equal shares is the label.
        u32 label = 0;
        float largest = -INFINITY;
        for (u32 k = 0; k < a.classes; k++) {
            largest = fmaxf(largest, logit(k));
            if (shares[k] > shares[label]) label = k;
        }
        float exponents = 0, logits = 0;
        const float of_label = logit(label);
        bool is_right = true;
        for (u32 k = 0; k < a.classes; k++) {
            exponents += expf(logit(k) - largest);
            logits += logit(k) - largest;
            // The first of equal logits is the prediction. What is no number is never right.
            is_right = is_right && (k < label ? logit(k) < of_label : logit(k) <= of_label);
        }
        const float normaliser = logf(exponents);
        const float spread = a.smoothing / a.classes, hot = 1 - a.smoothing;
        float of_targets = 0, weight = 0;
        for (u32 k = 0; k < a.classes; k++) {
            if (shares[k] == 0) continue;
            of_targets += shares[k] * (normaliser - (logit(k) - largest));
            weight += shares[k] * (a.class_weights ? a.class_weights[k] : 1);
        }
        if (!a.class_weights) weight = 1;
        const float missing = hot * of_targets + spread * (a.classes * normaliser - logits);
        loss += weight * missing;
        hits += is_right;
        if (!a.dlogits) continue;
        // One at a time: an exact division is a call, before which the others would be saved.
#pragma unroll 1
        for (u32 k = 0; k < a.classes; k++) {
            const float probability = expf(logit(k) - largest) / exponents;
            a.dlogits[size_t(sample) * a.classes + k] = weight * (probability - (spread + shares[k] * hot)) / a.batch;
        }
    }
    __shared__ double shared[2][256];
    shared[0][thread] = loss;
    shared[1][thread] = hits;
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) {
            shared[0][thread] += shared[0][thread + half];
            shared[1][thread] += shared[1][thread + half];
        }
    }
    __syncthreads();
    if (thread == 0) {
        a.losses[step] = shared[0][0];
        a.correct[step] = u32(shared[1][0]);
        if (a.last) a.state->step = step + 1;
    }
    if (!a.dlogits || !a.dbias) return;
    for (u32 k = thread; k < a.classes; k += blockDim.x) {
        double sum = 0;
        for (u32 sample = 0; sample < a.batch; sample++) sum += a.dlogits[size_t(sample) * a.classes + k];
        a.dbias[k] = float(sum);
    }
}
KERNEL(cross_entropy_f32, LossArgs, cross_entropy)
