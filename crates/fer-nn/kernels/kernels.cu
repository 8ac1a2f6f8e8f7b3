// All kernels, as one module.
#include "batch.cu"
#include "direct.cu"
#include "layers.cu"
#include "layout.cu"
#include "loss.cu"
#include "optimizer.cu"
#include "stage.cu"
#include "tone.cu"
