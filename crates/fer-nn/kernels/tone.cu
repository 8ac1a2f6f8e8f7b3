// Changes the values of a batch's images after they were moved: Keras' channel shift and brightness, contrast, offset,
// bounds, erasing.
//
// A block for each image.
#include "standard.cuh"
#include "stage.cuh"

struct Tone {
    float shift;       // added to every pixel
    float brightness;  // a factor; none below 0
    float contrast;    // of the distance from the image's mean; none where it is 1
    float offset;      // added to every pixel
    u32 top, left, bottom, right;  // the rectangle that is erased
};

struct ToneArgs {
    float* images;  // (batch, area)
    const Tone* tones;
    const State* state;
    u32 area, width;
    u32 stride;   // samples in a full batch
    u32 stretch;  // of which images brightness is scaled to 0 to 255
    u32 clamps;   // whether pixels are kept in 0 to 1
    float erased;
    Standard standard;
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

// The mean pixel of an image, for every thread of the block.
__device__ inline float mean(const float* image, u32 area) {
    __shared__ double sums[256];
    const u32 thread = threadIdx.x;
    double sum = 0;
    for (u32 i = thread; i < area; i += blockDim.x) sum += image[i];
    __syncthreads();
    sums[thread] = sum;
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) sums[thread] += sums[thread + half];
    }
    __syncthreads();
    return float(sums[0] / area);
}

// The whole part as a byte, at most 255.
__device__ inline float truncate(float value) { return float(u32(fminf(fmaxf(value, 0.0f), 255.0f))); }

// As keras-preprocessing's `apply_brightness_shift` and `array_to_img`, and Pillow's `ImageEnhance.Brightness`, do it.
__device__ inline void brighten(const ToneArgs& a, float* image, float factor) {
    float low, high;
    extremes(image, a.area, low, high);
    const bool stretches = a.stretch == ALWAYS || low < 0 || high > 255;
    const float range = high - low;
    for (u32 i = threadIdx.x; i < a.area; i += blockDim.x) {
        float value = truncate(image[i]);
        if (stretches) value = range != 0 ? truncate((image[i] - low) / range * 255) : 0;
        value = truncate(value * factor);
        image[i] = stretches && a.stretch == OUTSIDE_BYTES ? value / 255 * range + low : value;
    }
    __syncthreads();
}

__device__ void tone(const ToneArgs& a) {
    const Tone of_image = a.tones[size_t(a.state->step) * a.stride + blockIdx.x];
    float* image = a.images + size_t(blockIdx.x) * a.area;
    if (of_image.shift != 0) {
        float low, high;
        extremes(image, a.area, low, high);
        for (u32 i = threadIdx.x; i < a.area; i += blockDim.x)
            image[i] = fminf(fmaxf(image[i] + of_image.shift, low), high);
        __syncthreads();
    }
    if (of_image.brightness >= 0) brighten(a, image, of_image.brightness);
    const bool has_contrast = of_image.contrast != 1;
    const float middle = has_contrast ? mean(image, a.area) : 0;
    for (u32 i = threadIdx.x; i < a.area; i += blockDim.x) {
        float value = image[i];
        if (has_contrast) value = sum_f32(product_f32(value - middle, of_image.contrast), middle);
        value += of_image.offset;
        if (a.clamps) value = fminf(fmaxf(value, 0.0f), 1.0f);
        const u32 row = i / a.width, column = i % a.width;
        const bool is_erased = row >= of_image.top && row < of_image.bottom && column >= of_image.left && column < of_image.right;
        image[i] = a.standard.of(is_erased ? a.erased : value);
    }
}
KERNEL(tone_f32, ToneArgs, tone)
