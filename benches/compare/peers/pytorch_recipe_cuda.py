"""PyTorch on a GPU: seconds of an epoch of recipes/ferplus.toml, in the fastest of its forms.

python -m peers.pytorch_recipe_cuda recipe_epoch --batch 128 --precision f32|tf32|bf16

An epoch is 220 batches of noise in eight classes: drawing and making the augmented images, mixing, forward, cross-entropy of soft
targets, backward, SGD with Nesterov's momentum, the moving average of weights and statistics. A step is captured once; the host
writes rows, partners, shares, learning rate and the average's decay before each. forms.py says what is printed.
"""

import math
import statistics
import time
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from peers.forms import arguments, print_fastest, wait
from peers.torch_vgg import CLASSES, network

STEPS, EPOCHS = 220, 5
MEAN, DEVIATION, SIDE = 0.5077, 0.2550, 48


def augment(x):
    """The recipe's changes, each image by numbers of its own; standardised, then erased in part."""
    n, device = len(x), x.device

    def about(most):
        return (torch.rand(n, device=device) * 2 - 1) * most

    angle, zoom = about(math.radians(15)), 1 + about(0.12)
    zoom_y = zoom * (1 + about(0.04))
    mirror = torch.where(torch.rand(n, device=device) < 0.5, 1.0, -1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [[cos * zoom * mirror, -sin * zoom, about(0.2)], [sin * zoom_y * mirror, cos * zoom_y, about(0.2)]]
    maps = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = functional.affine_grid(maps, x.shape, align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    middle = x.mean((2, 3), keepdim=True)
    contrast, offset = 1 + about(0.2)[:, None, None, None], about(0.1)[:, None, None, None]
    x = (((x - middle) * contrast + middle + offset).clamp(0, 1) - MEAN) / DEVIATION
    along = torch.arange(SIDE, device=device)
    area, aspect = torch.rand(n, device=device) * 0.18 + 0.02, torch.exp(about(1.2))
    height, width = (area * aspect).sqrt() * SIDE, (area / aspect).sqrt() * SIDE
    top, left = torch.rand(n, device=device) * SIDE, torch.rand(n, device=device) * SIDE
    inside_rows = (along[None] - top[:, None]).abs() * 2 < height[:, None]
    inside_columns = (along[None] - left[:, None]).abs() * 2 < width[:, None]
    erased = inside_rows[:, :, None] & inside_columns[:, None, :] & (torch.rand(n, device=device) < 0.5)[:, None, None]
    return torch.where(erased[:, None], torch.zeros_like(x), x)


class Training:
    """Data, network, average and optimiser on the device; everything that changes from step to step is in tensors."""

    def __init__(self, form, options, steps):
        fast = options.precision != "f32"
        torch.manual_seed(42)
        torch.set_float32_matmul_precision("high" if fast else "highest")
        torch.backends.cudnn.allow_tf32 = fast
        torch.backends.cudnn.benchmark = True
        self.options, self.steps = options, steps
        self.device = device = options.device
        count = steps * options.batch
        self.images = torch.randint(0, 256, (count, 1, SIDE, SIDE), dtype=torch.uint8, device=device)
        self.targets = functional.one_hot(torch.arange(count, device=device) % CLASSES, CLASSES).float()
        layout = torch.channels_last
        self.net = network().train().to(device, memory_format=layout)
        self.average = network().eval().to(device, memory_format=layout)
        for module in self.net:
            if isinstance(module, nn.BatchNorm2d):
                module.num_batches_tracked = None
        self.average.load_state_dict(self.net.state_dict(), strict=False)
        self.rate = torch.tensor(1e-3, device=device)
        weights = [p for p in self.net.parameters() if p.dim() > 1]
        others = [p for p in self.net.parameters() if p.dim() == 1]
        groups = [{"params": weights, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}]
        self.sgd = torch.optim.SGD(groups, self.rate, momentum=0.9, nesterov=True, fused=True)
        self.rows = torch.zeros(options.batch, dtype=torch.long, device=device)
        self.partners = torch.zeros_like(self.rows)
        self.share = torch.ones((), device=device)
        self.decay = torch.zeros((), device=device)
        self.loss = torch.zeros((), device=device)
        for parameter in self.net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.loss_of, self.augment = self.plain_loss, augment
        if "compiled" in form:
            self.loss_of = torch.compile(self.plain_loss, dynamic=False)
        if "images" in form:
            self.augment = torch.compile(augment, dynamic=False)
        self.replay = self.captured() if device == "cuda" else self.step

    def plain_loss(self, x, targets):
        half = self.options.precision == "bf16"
        with torch.autocast(self.device, torch.bfloat16, enabled=half, cache_enabled=False):
            logits = self.net(x)
        return -(targets * functional.log_softmax(logits.float(), 1)).sum(1).mean()

    def step(self):
        x = self.augment(self.images[self.rows].float() / 255).contiguous(memory_format=torch.channels_last)
        targets = self.targets[self.rows]
        x = self.share * x + (1 - self.share) * x[self.partners]
        targets = self.share * targets + (1 - self.share) * targets[self.partners]
        loss = self.loss_of(x, targets)
        loss.backward()
        self.sgd.step()
        with torch.no_grad():
            torch._foreach_zero_([parameter.grad for parameter in self.net.parameters()])
            self.follow(self.average.parameters(), self.net.parameters())
            self.follow(floats(self.average), floats(self.net))
            self.loss.add_(loss.detach())

    def follow(self, averages, values):
        averages = list(averages)
        steps = torch._foreach_sub(list(values), averages)
        torch._foreach_mul_(steps, 1 - self.decay)
        torch._foreach_add_(averages, steps)

    def captured(self):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(4):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay

    def epoch(self):
        """Its mean loss."""
        order = torch.randperm(len(self.images), device=self.device)
        mixing = torch.distributions.Beta(0.2, 0.2)
        self.loss.zero_()
        for i in range(self.steps):
            self.rows.copy_(order[i * self.options.batch : (i + 1) * self.options.batch])
            self.partners.copy_(torch.randperm(self.options.batch, device=self.device))
            self.share.fill_(mixing.sample().item())
            self.rate.fill_(0.01)
            self.decay.fill_(0.999)
            self.replay()
        return self.loss.item() / self.steps


def floats(net):
    return [buffer for buffer in net.buffers() if buffer.dtype.is_floating_point]


def recipe_epoch(form, options):
    on_card = options.device == "cuda"
    training = Training(form, options, STEPS if on_card else 2)
    seconds, losses = [], []
    for _ in range(1 + EPOCHS):
        wait(options.device)
        start = time.perf_counter()
        losses.append(training.epoch())
        seconds.append(time.perf_counter() - start)
    if not all(map(math.isfinite, losses)):
        raise RuntimeError(f"the losses of the epochs are {losses}")
    # The first is of a card that is not warm.
    seconds = seconds[1:]
    return {
        "seconds": statistics.median(seconds),
        "min": min(seconds),
        "max": max(seconds),
        "repetitions": EPOCHS,
        "steps": training.steps,
        "card": torch.cuda.get_device_name() if on_card else "CPU",
        "peak_bytes": torch.cuda.max_memory_allocated() if on_card else None,
        "losses": losses,
    }


if __name__ == "__main__":
    options = arguments(__doc__.splitlines()[0], ["recipe_epoch"])
    forms = ["modules, one graph", "compiled, one graph", "compiled with its images, one graph"]
    print_fastest(f"PyTorch {torch.__version__}", {form: partial(recipe_epoch, form) for form in forms}, options)
