"""The notebook's network in PyTorch."""

from torch import nn


def network():
    """The network; gives logits."""
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
    net = nn.Sequential(*layers, nn.Dropout(0.6), nn.Linear(128, 3))
    # he_normal, but for the truncation, and the last layer glorot_uniform.
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    nn.init.xavier_uniform_(net[-1].weight)
    return net


def parameters(net):
    """How many numbers the network has, moving statistics included."""
    statistics = [b for name, b in net.named_buffers() if "running" in name]
    return sum(t.numel() for t in [*net.parameters(), *statistics])
