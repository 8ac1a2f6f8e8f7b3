"""ONNX Runtime on a GPU: seconds of inference, by CUDA's and by TensorRT's execution provider where it has them.

python -m peers.onnx_runtime_cuda inference --batch N --precision f32|tf32|bf16

The graph of onnx_runtime.py; images and probabilities stay on the card. For bf16 the numbers are f16, which is as fast
on tensor cores and which more of its kernels know. forms.py says what is printed.
"""

import os
from functools import partial

import numpy as np
import torch

from peers.forms import arguments, print_fastest, timed, wait

# Two layouts of CUDA's; TensorRT chooses for itself.
FORMS = {
    "CUDA": ("CUDAExecutionProvider", {"prefer_nhwc": "0"}),
    "CUDA, NHWC": ("CUDAExecutionProvider", {"prefer_nhwc": "1"}),
    "TensorRT": ("TensorrtExecutionProvider", {}),
}


def inference(provider, settings, options):
    if options.precision == "f32":
        # NVIDIA's libraries read this when they are loaded.
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    import onnxruntime

    from peers.onnx_runtime import network

    if provider not in (there := onnxruntime.get_available_providers()):
        raise RuntimeError(f"onnxruntime {onnxruntime.__version__} has only {', '.join(there)}")
    half = options.precision == "bf16"
    numpy_type, torch_type = (np.float16, torch.float16) if half else (np.float32, torch.float32)
    if provider == "CUDAExecutionProvider":
        settings = {**settings, "use_tf32": "0" if options.precision == "f32" else "1"}
    elif provider == "TensorrtExecutionProvider":
        settings = {**settings, "trt_fp16_enable": str(half)}
    model, _ = network(numpy_type)
    session = onnxruntime.InferenceSession(model, providers=[(provider, settings)])
    # Without a library that it needs, it goes on without the provider.
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"the session has only {', '.join(session.get_providers())}")

    batches = [torch.rand(options.batch, 1, 48, 48, device=options.device).to(torch_type) for _ in range(8)]
    probabilities = torch.empty(options.batch, 3, dtype=torch_type, device=options.device)
    wait(options.device)

    def bound(x):
        binding = session.io_binding()
        place = options.device, 0, numpy_type
        binding.bind_input("images", *place, list(x.shape), x.data_ptr())
        output = session.get_outputs()[0].name
        binding.bind_output(output, *place, list(probabilities.shape), probabilities.data_ptr())
        return binding

    bindings = [(bound(x),) for x in batches]
    # It returns when the probabilities are there.
    session.run_with_iobinding(*bindings[0])
    off = (probabilities.float().sum(1) - 1).abs().max().item()
    # Not a number is not at most anything.
    if not off <= 0.01:
        raise RuntimeError(f"the sum of an image's probabilities is off by {off}")
    name = f"ONNX Runtime {onnxruntime.__version__}"
    # Its own memory is not known.
    return {"name": name, **timed(session.run_with_iobinding, bindings, options), "peak_bytes": None}


if __name__ == "__main__":
    options = arguments(__doc__.splitlines()[0], ["inference"])
    forms = FORMS if options.device == "cuda" else {"CPU": ("CPUExecutionProvider", {})}
    print_fastest("ONNX Runtime", {name: partial(inference, *form) for name, form in forms.items()}, options)
