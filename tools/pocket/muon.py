"""Muon: momentum, then the nearest orthogonal matrix, for every matrix of a stack at once."""
import torch


def orthogonal(g, steps=5):
    """Newton-Schulz iteration on the last two dimensions, in bf16 on a GPU."""
    x = g.bfloat16() if g.is_cuda else g
    turned = x.shape[-2] > x.shape[-1]
    if turned:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.mT if turned else x


def update(w, g, momentum, lr, decay, beta=0.95):
    momentum.mul_(beta).add_(g)
    step = orthogonal(g + beta * momentum).float()
    w.mul_(1 - lr * decay).add_(step * (-lr * 0.2 * max(w.shape[-2:]) ** 0.5))


class Muon(torch.optim.Optimizer):
    def __init__(self, params, decay=0.05, compiled=False):
        super().__init__(params, {"lr": 0.0, "decay": decay})
        self.update = torch.compile(update) if compiled else update
        self.rate = None  # a tensor on the device: no compilation per value, no wait to copy one

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                if self.rate is None:
                    self.rate = torch.zeros((), device=p.device)
                self.update(p, p.grad, state["momentum"], self.rate.fill_(group["lr"]), group["decay"])
