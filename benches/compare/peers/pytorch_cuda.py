"""PyTorch on a GPU: seconds of a training step or of inference, in the fastest of its forms.

python -m peers.pytorch_cuda train_step|inference --batch N --precision f32|tf32|bf16

A training step is the copy of a batch on the card to where the step reads it, forward, cross-entropy, backward and
Adam; inference gives probabilities. f32 has TF32 off everywhere; bf16 is autocast in training and bf16 weights and
images in inference. forms.py says what is printed; the peak memory is of the tensors, without what tuning took where
it can be told apart.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch._dynamo.config
import torch._inductor.config
from torch import nn

from peers.forms import arguments, print_fastest, timed, wait
from peers.torch_network import network

TUNED = "max-autotune-no-cudagraphs"


@dataclass(frozen=True)
class Form:
    """How a step is run."""

    name: str
    # Of torch.compile; without one, PyTorch runs the modules.
    mode: str | None = None
    # The whole step is captured as one CUDA graph.
    one_graph: bool = False
    layout: torch.memory_format = torch.channels_last
    # Adam is compiled too; otherwise it is PyTorch's fused one.
    compiled_adam: bool = False
    # Weights are constants to the compiler.
    frozen: bool = False
    tensorrt: bool = False


# Only for f32: without tensor cores cuDNN has more kernels for images in planes, a channel each.
PLANES = torch.contiguous_format
TRAINING = [
    Form("modules, one graph", one_graph=True),
    Form("modules, planes, one graph", one_graph=True, layout=PLANES),
    Form("compiled", "default"),
    Form("compiled, one graph", "default", one_graph=True),
    Form("compiled, planes, one graph", "default", one_graph=True, layout=PLANES),
    Form("max-autotune, one graph", TUNED, one_graph=True),
    Form("max-autotune with Adam, one graph", TUNED, one_graph=True, compiled_adam=True),
    Form("max-autotune, its own graphs", "max-autotune"),
]
INFERENCE = [
    Form("modules"),
    Form("modules, planes", layout=PLANES),
    Form("compiled", "default"),
    Form("max-autotune", TUNED),
    Form("max-autotune, frozen", TUNED, frozen=True),
    Form("max-autotune, frozen, planes", TUNED, frozen=True, layout=PLANES),
    Form("max-autotune, frozen, one graph", TUNED, frozen=True, one_graph=True),
    Form("torch_tensorrt", tensorrt=True),
]


def train_step(form, options):
    set_up(form, options)
    net = network().train().to(options.device, memory_format=form.layout)
    for module in net:
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            # Keras counts no batches.
            module.num_batches_tracked = None
    # As a tensor the learning rate can change without another capture.
    rate = torch.tensor(1e-3, device=options.device)
    settings = {"fused": not form.compiled_adam, "capturable": options.device == "cuda"}
    adam = torch.optim.Adam(net.parameters(), rate, eps=1e-7, **settings)

    def loss_of(x, y):
        with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16", cache_enabled=False):
            return nn.functional.cross_entropy(net(x), y)

    loss_of = compiled(loss_of, form, fullgraph=True)
    update = compiled(adam.step, form) if form.compiled_adam else adam.step

    def step(x, y):
        torch.compiler.cudagraph_mark_step_begin()
        loss = loss_of(x, y)
        loss.backward()
        update()
        adam.zero_grad()
        # Detached, or it would hold what belongs to the backward pass.
        return loss.detach()

    batches = make_batches(form, options, torch.float32)
    step = warmed(step, batches[0], form, options)
    # With labels of another brightness than before, so that nothing learnt so far helps.
    x, y = batches[1]
    losses = [step(x, (y + 1) % 3).item() for _ in range(30)]
    if not all(map(math.isfinite, losses)) or losses[-1] > losses[0] / 2:
        raise RuntimeError(f"the loss of one batch, step by step, does not fall: {losses}")
    return {**timed(step, batches, options), "first_loss": losses[0], "last_loss": losses[-1]}


@torch.no_grad()
def inference(form, options):
    set_up(form, options)
    net = nn.Sequential(network(), nn.Softmax(1)).eval().to(options.device, memory_format=form.layout)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    batches = [(x,) for x, _ in make_batches(form, options, dtype)]
    expected = net(batches[0][0][:64].float())
    net.to(dtype)
    if form.tensorrt:
        import torch_tensorrt  # noqa: F401  registers the backend

        settings = {"disable_tf32": options.precision == "f32", "min_block_size": 1}
        infer = torch.compile(net, backend="torch_tensorrt", dynamic=False, options=settings)
    else:
        infer = compiled(net, form, fullgraph=True)

    step = warmed(infer, batches[1], form, options)
    difference = (step(*batches[0])[:64].float() - expected).abs().max().item()
    spread = (expected.amax(0) - expected.amin(0)).max().item()
    # Not a number is not at most anything.
    if not difference <= 0.2 * spread:
        raise RuntimeError(f"probabilities, {spread} apart, differ from those of the modules in f32 by {difference}")
    return {**timed(step, batches, options), "difference": difference}


def set_up(form, options):
    """The settings of the process."""
    torch.manual_seed(42)
    fast = options.precision != "f32"
    torch.set_float32_matmul_precision("high" if fast else "highest")
    torch.backends.cudnn.allow_tf32 = fast
    # What Inductor's own convolutions go by; the line above does not set it.
    torch.backends.cudnn.fp32_precision = "tf32" if fast else "ieee"
    torch.backends.cudnn.benchmark = True
    torch._inductor.config.freezing = form.frozen
    torch._inductor.config.layout_optimization = form.layout == torch.channels_last
    # Rather an error than modules that are timed as compiled.
    torch._dynamo.config.fail_on_recompile_limit_hit = True


def compiled(function, form, fullgraph=False):
    if form.mode is None:
        return function
    return torch.compile(function, mode=form.mode, fullgraph=fullgraph, dynamic=False)


def make_batches(form, options, dtype, count=8):
    """Noise, brighter by label, so that there is something to learn."""
    batches = []
    for _ in range(count):
        y = torch.randint(0, 3, (options.batch,), device=options.device)
        x = (torch.rand(options.batch, 1, 48, 48, device=options.device) + y.view(-1, 1, 1, 1)) / 3
        batches.append((x.to(dtype, memory_format=form.layout), y))
    return batches


def warmed(step, batch, form, options):
    """`step`, compiled and tuned, and captured where the form says so."""
    if not form.one_graph or options.device == "cpu":
        for _ in range(5):
            step(*batch)
        wait(options.device)
        # Graphs of torch.compile's own are recorded by now: their memory was counted at that time.
        if options.device == "cuda" and form.mode != "max-autotune":
            torch.cuda.reset_peak_memory_stats()
        return step

    inputs = [tensor.clone() for tensor in batch]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            step(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        output = step(*inputs)

    def replay(*batch):
        for held, given in zip(inputs, batch, strict=True):
            held.copy_(given)
        graph.replay()
        return output

    return replay


if __name__ == "__main__":
    works = {"train_step": (train_step, TRAINING), "inference": (inference, INFERENCE)}
    options = arguments(__doc__.splitlines()[0], list(works))
    measure, forms = works[options.work]
    forms = [form for form in forms if form.layout != PLANES or options.precision == "f32"]
    print_fastest(f"PyTorch {torch.__version__}", {form.name: partial(measure, form) for form in forms}, options)
