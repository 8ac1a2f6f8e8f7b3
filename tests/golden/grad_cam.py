"""Grad-CAM by PyTorch's hooks, of the two networks that the project ships: writes grad_cam.json beside this file.

    pip install torch==2.15.0 numpy
    python grad_cam.py

Pixel (y, x) of the image is (5 y + 3 x + (y x) % 17 * 4) % 256. A map is relu(sum of the layer's channels, each weighted by
the mean of the logit's gradient over its places), in float64, row by row, before any division.
"""

import json
import pathlib
import struct
import tomllib

import numpy as np
import torch
import torch.nn as nn

HERE = pathlib.Path(__file__).parent
torch.set_default_dtype(torch.float64)


def weights(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    types = {"F16": np.float16, "F32": np.float32}
    body = data[8 + length :]
    return {
        name: torch.tensor(np.frombuffer(body[slice(*of["data_offsets"])], types[of["dtype"]]).astype(np.float64)).reshape(of["shape"])
        for name, of in header.items()
    }


def norm(name, of, epsilon, dims):
    layer = (nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d)(len(of[f"{name}.weight"]), eps=epsilon)
    layer.load_state_dict({part: of[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}, strict=False)
    return layer


def affine(layer, name, of):
    layer.load_state_dict({"weight": of[f"{name}.weight"], "bias": of[f"{name}.bias"]})
    return layer


def network(model, of):
    """The layers in order, each under the name that the project gives it; ELU is part of the layer before it."""
    epsilon = model["vgg"]["norm"]["epsilon"] if "vgg" in model else 1e-3
    layers, number, blocks = [], 0, 4 if "vgg" in model else 3
    for _ in range(blocks):
        for _ in range(2):
            number += 1
            out, inside, kernel, _ = of[f"conv2d_{number}.weight"].shape
            conv = affine(nn.Conv2d(inside, out, kernel, padding="same"), f"conv2d_{number}", of)
            layers.append((f"conv2d_{number}", nn.Sequential(conv, nn.ELU())))
            layers.append((f"batchnorm_{number}", norm(f"batchnorm_{number}", of, epsilon, 2)))
        layers.append((f"maxpool2d_{number // 2}", nn.MaxPool2d(2)))
    if "vgg" in model:
        layers.append(("global_mean", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())))
    else:
        layers.append(("flatten", nn.Flatten()))
        rows, columns = of["dense_1.weight"].shape
        layers.append(("dense_1", nn.Sequential(affine(nn.Linear(columns, rows), "dense_1", of), nn.ELU())))
        layers.append(("batchnorm_7", norm("batchnorm_7", of, epsilon, 1)))
    rows, columns = of["out_layer.weight"].shape
    layers.append(("out_layer", affine(nn.Linear(columns, rows), "out_layer", of)))
    net = nn.Sequential()
    for name, layer in layers:
        net.add_module(name, layer)
    return net.eval()


cases = []
for crate in ("fer-weights", "fer-weights-dcnn"):
    folder = HERE.parent.parent / "crates" / crate / "weights"
    model = tomllib.loads((folder / "model.toml").read_text())
    net = network(model, weights(folder / "model.safetensors"))
    y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    pixels = ((5 * y + 3 * x + (y * x) % 17 * 4) % 256).double()
    pre = model["preprocessing"]
    image = ((pixels * pre["scale"] - pre["mean"]) / pre["deviation"])[None, None]
    last = [name for name, _ in net.named_children() if name.startswith("conv2d")][-1]
    for layer in (last, "batchnorm_2", "maxpool2d_3"):
        for label in (0, len(model["labels"]) - 1):
            seen = {}

            def forward_hook(module, inputs, output):
                seen["values"] = output
                output.register_hook(lambda gradient: seen.update(gradient=gradient))

            handle = getattr(net, layer).register_forward_hook(forward_hook)
            logits = net(image)
            logits[0, label].backward()
            handle.remove()
            of_channels = seen["gradient"].mean((2, 3), keepdim=True)
            cam = torch.relu((seen["values"] * of_channels).sum(1))[0].detach()
            cases.append({
                "crate": crate, "layer": layer, "label": model["labels"][label],
                "probabilities": torch.softmax(logits, 1)[0].tolist(),
                "width": cam.shape[1], "height": cam.shape[0], "map": [float(f"{v:.9g}") for v in cam.flatten().tolist()],
            })

(HERE / "grad_cam.json").write_text(json.dumps({"torch": torch.__version__, "cases": cases}) + "\n")
