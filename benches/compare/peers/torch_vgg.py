"""PyTorch: seconds of a training step or of inference of the `vgg` chain, in the fastest of its forms.

python -m peers.torch_vgg train_step|inference BATCH

The name reported says which form it was.
"""

import itertools
import sys
from functools import partial

import torch
from torch import nn

from peers.timing import fastest, report
from peers.torch_network import parameters

CLASSES = 8


def network():
    """The chain; gives logits."""
    layers, channels = [], 1
    for filters, dropout in [(64, 0.1), (128, 0.1), (256, 0.2), (512, 0.3)]:
        for _ in range(2):
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ELU(), nn.BatchNorm2d(filters)]
            channels = filters
        layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(channels, CLASSES))
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def forms(make):
    """`make`, of a layout and of `torch.compile` or nothing, by the name of the form."""
    layouts = {"channels_last": torch.channels_last, "planes": torch.contiguous_format}
    ways = {"modules": lambda function: function, "compiled": partial(torch.compile, dynamic=False)}
    pairs = itertools.product(ways, layouts)
    return {f"{way}, {layout}": partial(make, layouts[layout], ways[way]) for way, layout in pairs}


def train_step(batch):
    """Forward, cross-entropy of soft targets, backward and fused SGD; the loss is read. By form."""
    y = torch.distributions.Dirichlet(torch.ones(CLASSES)).sample((batch,))

    def step(layout, compiled):
        net = network().train().to(memory_format=layout)
        x = torch.rand(batch, 1, 48, 48).to(memory_format=layout)
        weights = [p for p in net.parameters() if p.dim() > 1]
        others = [p for p in net.parameters() if p.dim() == 1]
        groups = [{"params": weights, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.SGD(groups, 0.05, momentum=0.9, nesterov=True, fused=True)
        loss_of = compiled(lambda: nn.functional.cross_entropy(net(x), y))

        def once():
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
            return loss.item()

        return once

    return forms(step)


def inference(batch):
    """Probabilities. By form."""

    def infer(layout, compiled):
        net = nn.Sequential(network(), nn.Softmax(1)).eval().to(memory_format=layout)
        x = torch.rand(batch, 1, 48, 48).to(memory_format=layout)
        function = compiled(net)

        @torch.inference_mode()
        def once():
            return function(x).numpy()

        return once

    return forms(infer)


if __name__ == "__main__":
    work, batch = sys.argv[1], int(sys.argv[2])
    torch.manual_seed(42)
    form, seconds = fastest({"train_step": train_step, "inference": inference}[work](batch))
    name = f"PyTorch {torch.__version__.split('+')[0]}, {form}"
    report(name, seconds, images=batch, parameters=parameters(network()), threads=torch.get_num_threads())
