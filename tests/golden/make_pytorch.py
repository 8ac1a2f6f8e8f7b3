"""Steps, schedules, losses and blends of PyTorch: writes pytorch.json beside this file.

    pip install torch==2.11.0
    python make_pytorch.py

The network is two dense layers with ELU between them, in float64; batch k of an epoch is rows 4k to 4k + 4 of `images`.
Each case of `trainings` is 4 epochs of 5 steps, from the same weights; it has the loss of each step before its update,
and after each epoch the weights and, where one is kept, their average. `w1, b1, w2, b2` are row by row.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(11)
EPOCHS, STEPS, BATCH, INPUTS, HIDDEN, CLASSES = 4, 5, 4, 6, 5, 3
TOTAL = EPOCHS * STEPS

images = torch.randn(STEPS * BATCH, INPUTS)
shares = torch.softmax(2 * torch.randn(STEPS * BATCH, CLASSES), 1)
labels = torch.randint(CLASSES, (STEPS * BATCH,))
start = [torch.randn(HIDDEN, INPUTS) * 0.5, torch.randn(HIDDEN) * 0.1,
         torch.randn(CLASSES, HIDDEN) * 0.5, torch.randn(CLASSES) * 0.1]


def flat(tensors):
    return [t.detach().ravel().tolist() for t in tensors]


def warm_cosine(step, warm):
    """The factor of the recipe, FER+'s and FER2013's."""
    return min(1, step / (warm * STEPS)) * (0.5 + 0.5 * math.cos(math.pi * step / TOTAL))


def optimizer_of(parameters, kind, **settings):
    decay = settings.pop("weight_decay", 0.0)
    if settings.pop("decay_all", False):
        groups = [{"params": parameters, "weight_decay": decay}]
    else:
        groups = [{"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
                  {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}]
    return kind(groups, **settings)


def train(optimizer, targets, clip=None, schedule=None, average=None, scheduler=None):
    """`optimizer` and `scheduler` make theirs of what they are for; `schedule` is a factor for each step."""
    parameters = [torch.nn.Parameter(p.clone()) for p in start]
    w1, b1, w2, b2 = parameters
    optimizer = optimizer(parameters)
    rates = [group["lr"] for group in optimizer.param_groups]
    scheduler = scheduler and scheduler(optimizer)
    averages = [p.detach().clone() for p in parameters]
    losses, epochs = [], []
    for step in range(TOTAL):
        rows = slice(step % STEPS * BATCH, (step % STEPS + 1) * BATCH)
        if schedule:
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * schedule(step)
        logits = F.linear(F.elu(F.linear(images[rows], w1, b1)), w2, b2)
        loss = F.cross_entropy(logits, targets[rows])
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        if scheduler:
            scheduler.step()
        losses.append(loss.item())
        if average:
            decay = min(average, (1 + step) / (10 + step))
            for a, p in zip(averages, parameters):
                a.add_(p.detach() - a, alpha=1 - decay)
        if step % STEPS == STEPS - 1:
            epochs.append({"weights": flat(parameters), "average": flat(averages) if average else None})
    return {"losses": losses, "epochs": epochs}


SGD, ADAMW = torch.optim.SGD, torch.optim.AdamW
one_cycle = dict(max_lr=0.2, total_steps=TOTAL, cycle_momentum=False)


def case(name, config, targets="shares", **training):
    targets = {"shares": shares, "labels": labels}[targets]
    return {"name": name, "config": config, "targets": "labels" if targets is labels else "shares",
            **train(targets=targets, **training)}


# `config` is the TrainConfig of the same training.
trainings = [
    case("momentum", {"optimizer": {"algorithm": "sgd", "learning_rate": 0.1}},
         optimizer=lambda p: SGD(p, 0.1, momentum=0.9), targets="labels"),
    case("plain", {"optimizer": {"algorithm": "sgd", "learning_rate": 0.2, "momentum": 0.0}},
         optimizer=lambda p: SGD(p, 0.2)),
    case("nesterov_decay",
         {"optimizer": {"algorithm": "sgd", "learning_rate": 0.1, "nesterov": True, "weight_decay": 0.02}},
         optimizer=lambda p: optimizer_of(p, SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.02)),
    case("decay_of_all",
         {"optimizer": {"algorithm": "sgd", "learning_rate": 0.1, "weight_decay": 0.05, "decay_all": True}},
         optimizer=lambda p: optimizer_of(p, SGD, lr=0.1, momentum=0.9, weight_decay=0.05, decay_all=True)),
    case("clipped",
         {"optimizer": {"algorithm": "sgd", "learning_rate": 0.1, "clip_norm": 0.3, "weight_decay": 0.02}},
         optimizer=lambda p: optimizer_of(p, SGD, lr=0.1, momentum=0.9, weight_decay=0.02), clip=0.3),
    case("adamw",
         {"optimizer": {"algorithm": "adamw", "learning_rate": 0.02, "epsilon": 1e-8, "weight_decay": 0.3}},
         optimizer=lambda p: optimizer_of(p, ADAMW, lr=0.02, weight_decay=0.3)),
    case("adamw_settings",
         {"optimizer": {"algorithm": "adamw", "learning_rate": 0.02, "epsilon": 1e-3, "beta_1": 0.8, "beta_2": 0.95,
                        "weight_decay": 0.1, "decay_all": True, "clip_norm": 0.5}},
         optimizer=lambda p: ADAMW(p, 0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1), clip=0.5),
    case("recipe",
         {"optimizer": {"algorithm": "sgd", "learning_rate": 0.3, "nesterov": True, "weight_decay": 0.01},
          "schedule": {"kind": "cosine", "warmup_epochs": 1.2}, "average": {"decay": 0.6}},
         optimizer=lambda p: optimizer_of(p, SGD, lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.01),
         schedule=lambda step: warm_cosine(step, 1.2), average=0.6),
    case("one_cycle",
         {"optimizer": {"algorithm": "adamw", "learning_rate": 0.2, "epsilon": 1e-8, "weight_decay": 0.1},
          "schedule": {"kind": "one_cycle"}, "average": {"decay": 0.999}},
         optimizer=lambda p: optimizer_of(p, ADAMW, lr=0.2, weight_decay=0.1), average=0.999,
         scheduler=lambda o: torch.optim.lr_scheduler.OneCycleLR(o, **one_cycle)),
]


def factors(total, make):
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


scheduler = torch.optim.lr_scheduler
schedules = [
    {"config": {"kind": "one_cycle"}, "epoch_steps": 10, "factors":
        factors(40, lambda o: scheduler.OneCycleLR(o, 1.0, total_steps=40, cycle_momentum=False))},
    {"config": {"kind": "one_cycle", "pct_start": 0.45, "div_factor": 4.0, "final_div_factor": 50.0}, "epoch_steps": 7,
     "factors": factors(21, lambda o: scheduler.OneCycleLR(o, 1.0, total_steps=21, pct_start=0.45, div_factor=4.0,
                                                           final_div_factor=50.0, cycle_momentum=False))},
    {"config": {"kind": "cosine", "final_part": 0.1}, "epoch_steps": 5, "factors":
        factors(30, lambda o: scheduler.CosineAnnealingLR(o, 30, eta_min=0.1))},
    # A step an epoch of one step is PyTorch's, which counts epochs.
    {"config": {"kind": "step", "step_epochs": 3, "gamma": 0.5}, "epoch_steps": 1, "factors":
        factors(10, lambda o: scheduler.StepLR(o, 3, gamma=0.5))},
]

logits = torch.randn(6, CLASSES) * 3
logits[0] = torch.tensor([60.0, 0.0, -60.0])
soft = torch.softmax(torch.randn(6, CLASSES), 1)
soft[1] = torch.tensor([0.0, 1.0, 0.0])


def focal(x, gamma):
    """Lin et al. 2017, of targets that are shares."""
    log_p = F.log_softmax(x, 1)
    return -(soft * (1 - log_p.exp()) ** gamma * log_p).sum(1).mean()


def loss_case(config, of):
    x = logits.clone().requires_grad_()
    loss = of(x)
    loss.backward()
    return {"config": config, "loss": loss.item(), "gradient": x.grad.ravel().tolist()}


losses = [
    loss_case({}, lambda x: F.cross_entropy(x, soft)),
    loss_case({"label_smoothing": 0.1}, lambda x: F.cross_entropy(x, soft, label_smoothing=0.1)),
    loss_case({"focal_gamma": 2.0}, lambda x: focal(x, 2.0)),
    loss_case({"focal_gamma": 3.5}, lambda x: focal(x, 3.5)),
]

share, partners = 0.7, torch.randperm(BATCH)
mixed = {
    "share": share, "partners": partners.tolist(),
    "images": (share * images[:BATCH] + (1 - share) * images[:BATCH][partners]).ravel().tolist(),
    "shares": (share * shares[:BATCH] + (1 - share) * shares[:BATCH][partners]).ravel().tolist(),
    "of_labels": (share * F.one_hot(labels[:BATCH], CLASSES) + (1 - share) * F.one_hot(labels[:BATCH], CLASSES)[partners])
    .ravel().tolist(),
}

golden = {
    "images": images.ravel().tolist(), "shares": shares.ravel().tolist(), "labels": labels.tolist(), "start": flat(start),
    "trainings": trainings, "schedules": schedules,
    "losses": {"logits": logits.ravel().tolist(), "shares": soft.ravel().tolist(), "cases": losses},
    "mixed": mixed,
}


def short(value):
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    return [short(item) for item in value] if isinstance(value, list) else value


path = pathlib.Path(__file__).with_name("pytorch.json")
path.write_text(json.dumps(short(golden), separators=(",", ":")) + "\n")
