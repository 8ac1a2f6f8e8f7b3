// Standardisation, done by whichever kernel is the last to change a batch's images.
#pragma once
#include "simt.cuh"

struct Standard {
    float mean, deviation;
    u32 applies;
    u32 unused;
    __device__ float of(float x) const { return applies ? (x - mean) / deviation : x; }
};
