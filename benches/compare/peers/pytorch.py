"""PyTorch: seconds of a training step or of inference.

python -m peers.pytorch train_step|inference BATCH

Of its forms the fastest on a 2-core Zen 4 with AVX-512: plain modules in the layout channels_last for training
(547 ms; contiguous 642; torch.compile 607 and 688), torch.compile in the usual layout for inference (7.1, 193 and
1786 ms for 1, 32 and 256 images; plain 8.1, 193 and 2821; channels_last and frozen weights change little).
"""

import sys

import torch
from torch import nn

from peers.timing import median_seconds, report


def network():
    """The notebook's network; gives logits."""
    layers, channels = [], 1
    for filters, kernel, dropout in [(64, 5, 0.4), (128, 3, 0.4), (256, 3, 0.5)]:
        for _ in range(2):
            layers += [
                nn.Conv2d(channels, filters, kernel, padding="same"),
                nn.ELU(),
                nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01),
            ]
            channels = filters
        layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
    layers += [nn.Flatten(), nn.Linear(9216, 128), nn.ELU(), nn.BatchNorm1d(128, eps=1e-3, momentum=0.01)]
    return nn.Sequential(*layers, nn.Dropout(0.6), nn.Linear(128, 3))


def train_step(net, batch):
    """Forward, cross-entropy, backward and fused Adam; the loss is read."""
    net.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, eps=1e-7, fused=True)
    x = torch.rand(batch, 1, 48, 48).to(memory_format=torch.channels_last)
    y = torch.randint(0, 3, (batch,))

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return median_seconds(step)


def inference(net, batch):
    """Probabilities of the compiled network."""
    x = torch.rand(batch, 1, 48, 48)
    infer = torch.compile(nn.Sequential(net, nn.Softmax(1)).eval())
    with torch.inference_mode():
        assert infer(x).shape == (batch, 3)
        return median_seconds(lambda: infer(x).numpy())


if __name__ == "__main__":
    work, batch = sys.argv[1], int(sys.argv[2])
    torch.manual_seed(42)
    net = network()
    statistics = [b for name, b in net.named_buffers() if "running" in name]
    parameters = sum(t.numel() for t in [*net.parameters(), *statistics])
    seconds = {"train_step": train_step, "inference": inference}[work](net, batch)
    version = torch.__version__.split("+")[0]
    report(f"PyTorch {version}", seconds, images=batch, parameters=parameters, threads=torch.get_num_threads())
