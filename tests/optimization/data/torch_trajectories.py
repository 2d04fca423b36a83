"""Make torch_trajectories.npz: 50 steps of torch's optimizers, which tests/test_optimizers.py compares ours with.

``pip install torch==2.13.0 && python tests/data/torch_trajectories.py``. Each case is an array (51, D, 2) of what torch
keeps in its parameter, from two starts with two learning rates; ``cases`` says in JSON which rule of ours it is, with
our fields.
"""

import json
from pathlib import Path

import numpy as np
import torch

STEPS = 50
TERMS = [[1.0, 0.5, -0.3], [-0.7, 0.2, 1.1], [0.4, -1.3, 0.6], [-0.9, 0.8, -0.5], [0.1, -0.4, -0.8]]
OFFSETS = [0.3, -0.2, 0.5, 0.1, -0.4]
INPUTS = [[1, 0.5], [1, -1.2], [1, 2.1], [1, 0.3], [1, -0.6], [1, 1.4], [1, -2.0], [1, 0.9]]
LABELS = [1, -1, 1, -1, 1, 1, -1, -1]


def quadratic(theta):
    return (torch.tensor([1.0, 100.0]) * theta**2).sum() / 2


def log_sum_exp(theta):
    return torch.logsumexp(torch.tensor(TERMS) @ theta + torch.tensor(OFFSETS), 0)


def rosenbrock(theta):
    return (1 - theta[0]) ** 2 + 100 * (theta[1] - theta[0] ** 2) ** 2


def logistic(theta):
    margins = torch.tensor(LABELS) * (torch.tensor(INPUTS) @ theta)
    return torch.nn.functional.softplus(-margins).mean()


# Objective, its two starts, and two rates at which descent is stable.
OBJECTIVES = {
    "quadratic": (quadratic, [[1.0, 1.0], [-2.0, 0.3]], (0.004, 0.012)),
    "log_sum_exp": (log_sum_exp, [[1.0, -1.0, 0.5], [0.0, 2.0, -1.0]], (0.1, 0.4)),
    "rosenbrock": (rosenbrock, [[-1.2, 1.0], [0.5, -0.5]], (2e-4, 5e-4)),
    "logistic": (logistic, [[0.0, 0.0], [1.0, -1.0]], (0.1, 1.0)),
}
ADAPTIVE_RATES = (0.01, 0.1)

# Rule of ours, its fields, torch's class and its options; rates are those of the objective, or the adaptive ones.
RULES = [
    ("SGD", {}, torch.optim.SGD, {}, None),
    ("Momentum", {"momentum": 0.7}, torch.optim.SGD, {"momentum": 0.7}, None),
    ("Nesterov", {"momentum": 0.7}, torch.optim.SGD, {"momentum": 0.7, "nesterov": True}, None),
    ("AdaGrad", {"epsilon": 1e-3}, torch.optim.Adagrad, {"eps": 1e-3}, ADAPTIVE_RATES),
    ("RMSProp", {"rho": 0.95, "epsilon": 1e-3}, torch.optim.RMSprop, {"alpha": 0.95, "eps": 1e-3}, ADAPTIVE_RATES),
    ("AdaDelta", {"rho": 0.9, "epsilon": 1e-3}, torch.optim.Adadelta, {"rho": 0.9, "eps": 1e-3}, (0.5, 1.0)),
    ("Adam", {"epsilon": 1e-3}, torch.optim.Adam, {"eps": 1e-3}, ADAPTIVE_RATES),
    (
        "AMSGrad",
        {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3},
        torch.optim.Adam,
        {"betas": (0.8, 0.9), "eps": 1e-3, "amsgrad": True},
        ADAPTIVE_RATES,
    ),
    (
        "AdamW",
        {"epsilon": 1e-3, "weight_decay": 0.3},
        torch.optim.AdamW,
        {"eps": 1e-3, "weight_decay": 0.3},
        ADAPTIVE_RATES,
    ),
    # A huge decay of torch's schedule of beta1 leaves beta1 constant from the first step.
    ("NAdam", {"epsilon": 1e-3}, torch.optim.NAdam, {"eps": 1e-3, "momentum_decay": 1e6}, ADAPTIVE_RATES),
]


def trajectory(objective, start, optimizer, **options):
    theta = torch.tensor(start, requires_grad=True)
    rule = optimizer([theta], **options)
    path = [theta.detach().numpy().copy()]
    for _ in range(STEPS):
        rule.zero_grad()
        objective(theta).backward()
        rule.step()
        path.append(theta.detach().numpy().copy())
    return np.stack(path)


def main():
    torch.set_default_dtype(torch.float64)
    arrays, cases = {}, {}
    for name, fields, optimizer, options, rates in RULES:
        for label, (objective, starts, own_rates) in OBJECTIVES.items():
            pairs = list(zip(starts, rates or own_rates, strict=True))
            paths = [trajectory(objective, start, optimizer, lr=rate, **options) for start, rate in pairs]
            arrays[f"{name}-{label}"] = np.stack(paths, axis=-1)
            cases[f"{name}-{label}"] = {"learning_rate": [rate for _, rate in pairs], **fields}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), cases=json.dumps(cases), **arrays)


if __name__ == "__main__":
    main()
