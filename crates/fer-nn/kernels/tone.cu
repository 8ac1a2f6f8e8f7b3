// Changes the values of a batch's images after they were moved: Keras' channel shift and brightness.
//
// A block for each image.
#include "stage.cuh"

struct Tone {
    float shift;       // added to every pixel
    float brightness;  // a factor; none below 0
};

struct ToneArgs {
    float* images;  // (batch, area)
    const Tone* tones;
    const State* state;
    u32 area;
    u32 stride;   // samples in a full batch
    u32 stretch;  // of which images brightness is scaled to 0 to 255
    u32 unused;
};

enum Stretch : u32 { ALWAYS, OUTSIDE_BYTES };

// The least and the greatest pixel of an image, for every thread of the block.
__device__ inline void extremes(const float* image, u32 area, float& low, float& high) {
    __shared__ float least[256], greatest[256];
    const u32 thread = threadIdx.x;
    low = high = image[0];
    for (u32 i = thread; i < area; i += blockDim.x) {
        low = fminf(low, image[i]);
        high = fmaxf(high, image[i]);
    }
    __syncthreads();
    least[thread] = low;
    greatest[thread] = high;
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) {
            least[thread] = fminf(least[thread], least[thread + half]);
            greatest[thread] = fmaxf(greatest[thread], greatest[thread + half]);
        }
    }
    __syncthreads();
    low = least[0];
    high = greatest[0];
}

// The whole part as a byte, at most 255.
__device__ inline float truncate(float value) { return float(u32(fminf(fmaxf(value, 0.0f), 255.0f))); }

// As keras-preprocessing's `apply_brightness_shift` and `array_to_img`, and Pillow's `ImageEnhance.Brightness`, do it.
__device__ void tone(const ToneArgs& a) {
    const Tone of_image = a.tones[size_t(a.state->step) * a.stride + blockIdx.x];
    float* image = a.images + size_t(blockIdx.x) * a.area;
    float low, high;
    if (of_image.shift != 0) {
        extremes(image, a.area, low, high);
        for (u32 i = threadIdx.x; i < a.area; i += blockDim.x)
            image[i] = fminf(fmaxf(image[i] + of_image.shift, low), high);
        __syncthreads();
    }
    if (of_image.brightness < 0) return;
    extremes(image, a.area, low, high);
    const bool stretches = a.stretch == ALWAYS || low < 0 || high > 255;
    const float range = high - low;
    for (u32 i = threadIdx.x; i < a.area; i += blockDim.x) {
        float value = truncate(image[i]);
        if (stretches) value = range != 0 ? truncate((image[i] - low) / range * 255) : 0;
        value = truncate(value * of_image.brightness);
        image[i] = stretches && a.stretch == OUTSIDE_BYTES ? value / 255 * range + low : value;
    }
}
KERNEL(tone_f32, ToneArgs, tone)
