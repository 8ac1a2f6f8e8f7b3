"""PyTorch: seconds of a training step or of inference.

python -m peers.torch_dcnn train_step|inference BATCH

Of its forms the fastest on a 2-core Zen 4 with AVX-512: plain modules in the layout channels_last for training
(547 ms; contiguous 642; torch.compile 607 and 688), torch.compile in the usual layout for inference (7.1, 193 and
1786 ms for 1, 32 and 256 images; plain 8.1, 193 and 2821; channels_last and frozen weights change little).
"""

import sys

import torch
from torch import nn

from peers.timing import median_seconds, report
from peers.torch_network import network, parameters


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
    seconds = {"train_step": train_step, "inference": inference}[work](net, batch)
    version = torch.__version__.split("+")[0]
    work = {"images": batch, "parameters": parameters(net), "threads": torch.get_num_threads()}
    report(f"PyTorch {version}", seconds, **work)
