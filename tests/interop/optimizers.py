"""The Python side of optimizers_test.ts: every optimizer's losses in PyTorch.

    optimizers.py DIR OUT
        DIR    a checkpoint of a GPT-2, and run.json:
               {"steps": [[[id]]], "clip": c, "optimizers": {name: configuration}}
        OUT    JSON: {name: [loss]}

AdamW, SGD and Muon are PyTorch's own. The others are written here from their papers' formulas, in float32.
"""
import json, sys
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
folder, out = sys.argv[1:]
run = json.load(open(f"{folder}/run.json"))


def hidden(named):
    return [p for n, p in named if n.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))]


def rest(named):
    own = {id(p) for p in hidden(named)}
    return [p for _, p in named if id(p) not in own]


def parts_of(p):
    """[out, in] matrices of a GPT-2 weight, which is [in, out]: q, k and v apart."""
    count = 3 if p.shape[1] == 3 * p.shape[0] else 1
    return [x.T.contiguous() for x in p.chunk(count, dim=1)]


def whole(parts):
    return torch.cat([x.T for x in parts], dim=1)


def orthogonal(x):
    """Newton-Schulz steps as Muon's, in float32."""
    turned = x.shape[0] < x.shape[1]
    x = x.T if turned else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x.T @ x
        x = 3.4445 * x + x @ (-4.7750 * a + 2.0315 * a @ a)
    return x.T if turned else x


def adamw(params, lr, weight_decay):
    return torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=weight_decay)


class Each:
    """Several optimizers in one step."""

    def __init__(self, *optimizers):
        self.optimizers = optimizers

    def step(self, loss, sequence_losses):
        for optimizer in self.optimizers:
            if isinstance(optimizer, torch.optim.Optimizer):
                optimizer.step()
            else:
                optimizer.step(loss, sequence_losses)


class Lion:
    """arXiv 2302.06675."""

    def __init__(self, params, lr, weight_decay):
        self.lr, self.weight_decay = lr, weight_decay
        self.m = [(p, torch.zeros_like(p)) for p in params]

    def step(self, *_):
        for p, m in self.m:
            direction = (0.9 * m + 0.1 * p.grad).sign()
            p.sub_(self.lr * (direction + self.weight_decay * p))
            m.mul_(0.99).add_(p.grad, alpha=0.01)


class PartsMuon:
    """torch.optim.Muon on the parts of GPT-2's weights."""

    def __init__(self, params, lr, weight_decay):
        self.params = params
        self.parts = [[torch.zeros_like(x) for x in parts_of(p)] for p in params]
        flat = [x for parts in self.parts for x in parts]
        self.muon = torch.optim.Muon(flat, lr=lr, weight_decay=weight_decay, momentum=0.95)

    def step(self, *_):
        for p, parts in zip(self.params, self.parts):
            for x, value, grad in zip(parts, parts_of(p.data), parts_of(p.grad)):
                x.copy_(value)
                x.grad = grad
        self.muon.step()
        for p, parts in zip(self.params, self.parts):
            p.data.copy_(whole(parts))


class Soap:
    """arXiv 2409.11321, one-sided: the eigenbasis of the smaller side, by QR; begins with the identity."""

    def __init__(self, params, lr, weight_decay):
        self.params, self.lr, self.weight_decay, self.t = params, lr, weight_decay, 0
        self.state = []
        for p in params:
            parts = parts_of(p)
            size = min(parts[0].shape)
            zeros = [torch.zeros(max(x.shape), size) for x in parts]
            self.state.append([[m, m.clone(), torch.zeros(size, size), torch.eye(size)] for m in zeros])

    def step(self, *_):
        self.t += 1
        for p, states in zip(self.params, self.state):
            directions = []
            for g, state in zip(parts_of(p.grad), states):
                turned = g.shape[0] < g.shape[1]
                m, v, r, q = state
                tall = g.T if turned else g
                m.lerp_(tall, 0.05)
                v.lerp_((tall @ q) ** 2, 0.05)
                correction = 1 - 0.95**self.t
                n = (m @ q / correction) / ((v / correction).sqrt() + 1e-8) @ q.T
                directions.append(n.T if turned else n)
                r.lerp_(tall.T @ tall, 0.05)
                if self.t <= 10 or (self.t - 1) % 10 == 0:
                    x, upper = torch.linalg.qr((r / r.trace() + 1e-6 * torch.eye(len(r))) @ q)
                    state[3] = x * upper.diagonal().sign()
            p.mul_(1 - self.lr * self.weight_decay).sub_(self.lr * whole(directions))


class KoalaKronecker:
    """KOALA++ with a covariance: of rows and columns, or of the smaller side; polar factor in the eigenbasis."""

    def __init__(self, params, lr, momentum, beta2, shampoo_beta, frequency, both):
        self.params, self.lr, self.mu, self.b2, self.bs = params, lr, momentum, beta2, shampoo_beta
        self.frequency, self.both, self.t = frequency, both, 0
        self.state = []
        for p in params:
            shapes = [(max(x.shape), min(x.shape)) for x in parts_of(p)]
            square = lambda size: [torch.zeros(size, size), torch.eye(size)]
            self.state.append([[torch.zeros(r, c), torch.zeros(r, c), square(r), square(c)] for r, c in shapes])

    def step(self, *_):
        self.t += 1
        refreshed = self.t <= self.frequency or (self.t - 1) % self.frequency == 0
        for p, states in zip(self.params, self.state):
            steps = []
            for grad, (m, v, left, right) in zip(parts_of(p.grad), states):
                scale = max(1, grad.shape[0] / grad.shape[1]) ** 0.5
                turned = grad.shape[0] < grad.shape[1]
                g = grad.T if turned else grad
                m.lerp_(g, 1 - self.mu)
                u = torch.lerp(m, g, 1 - self.mu)
                into = lambda x: left[1].T @ x @ right[1]
                v.lerp_(into(g) ** 2, 1 - self.b2)
                x = into(u) / ((v / (1 - self.b2**self.t)).sqrt() + 1e-8)
                o = scale * left[1] @ orthogonal(x) @ right[1].T
                steps.append(o.T if turned else o)
                if self.both:
                    self.learn(left, g @ g.T, refreshed)
                self.learn(right, g.T @ g, refreshed)
            p.sub_(self.lr * whole(steps))

    def learn(self, side, product, refreshed):
        side[0].lerp_(product, 1 - self.bs)
        if refreshed:
            a = side[0] / side[0].trace() + 1e-6 * torch.eye(len(side[0]))
            x, upper = torch.linalg.qr(a @ side[1])
            side[1] = x * upper.diagonal().sign()


class Noise:
    """R: a moving average of the variance of the sequences' losses."""

    def __init__(self):
        self.average = 1.0

    def next(self, sequence_losses):
        self.average = 0.9 * self.average + 0.1 * sequence_losses.var(correction=0).item()
        return self.average


class Koala:
    """arXiv 2107.03331: KOALA-V, or KOALA-M where `momentum` is set."""

    def __init__(self, params, lr, sigma, q, momentum):
        self.params, self.lr, self.q, self.momentum, self.noise = params, lr, q, momentum, Noise()
        a = 0.9 if momentum else 0.0
        self.a, self.f = a, torch.tensor([[1.0, float(momentum)], [0.0, a]], dtype=torch.float64)
        self.p = torch.diag(torch.tensor([sigma, 0.1 if momentum else 0.0], dtype=torch.float64))
        self.v = [torch.zeros_like(p) for p in params]
        self.mean = [torch.zeros_like(p) for p in params]
        self.last = [p.clone() for p in params]

    def step(self, loss, sequence_losses):
        r = self.noise.next(sequence_losses)
        if self.momentum:
            away = torch.stack([(m - w).norm() for m, w in zip(self.mean, self.last)]).norm().item()
            self.q = 0.9 * self.q + 0.1 * away / sum(p.numel() for p in self.params)
        noise = torch.tensor([self.q, 0.01 if self.momentum else 0.0], dtype=torch.float64)
        self.p = self.f @ self.p @ self.f.T + torch.diag(noise)
        shares = []
        for i, p in enumerate(self.params):
            norm = p.grad.norm().item()
            s = self.p[0, 0].item() * norm**2 + r
            gain = self.p[:, 0] * (self.lr * loss / s)
            p.sub_(gain[0].item() * p.grad)
            self.v[i].sub_(gain[1].item() * p.grad)
            self.mean[i].mul_(0.9).add_(p, alpha=0.1)
            shares.append(norm**2 / s)
            # The prediction of the next step, so that its gradient is taken there.
            self.last[i].copy_(p)
            p.add_(self.v[i] * float(self.momentum))
            self.v[i].mul_(self.a)
        self.p = self.p - max(shares) * torch.outer(self.p[:, 0], self.p[:, 0])


class KoalaPlusPlus:
    """arXiv 2506.04432, Algorithm 1, symmetric; along an average of gradients, with orthogonal steps, if asked."""

    def __init__(self, params, lr, sigma, q, r="variance", momentum=0, orthogonal="none"):
        self.params, self.lr, self.sigma, self.q, self.noise = params, lr, sigma, q, Noise()
        self.r, self.beta, self.orthogonal, self.t = r, momentum, orthogonal, 0
        self.sums = [torch.zeros_like(p) for p in params]
        self.state = [None] * len(params)

    def step(self, loss, sequence_losses):
        r, q = self.noise.next(sequence_losses), self.q
        r = r if self.r == "variance" else self.r
        self.t += 1
        dot = lambda x, y: (x * y).sum().item()
        for i, p in enumerate(self.params):
            self.sums[i].lerp_(p.grad, 1 - self.beta)
            h = self.sums[i] / (1 - self.beta**self.t)
            if self.state[i] is None:
                self.state[i] = (self.sigma * h, h, (self.sigma + q) * dot(h, h) + r)
            v0, h0, s0 = self.state[i]
            hh0, hv0, h0h0, h0v0 = dot(h, h0), dot(h, v0), dot(h0, h0), dot(h0, v0)
            gain = (hv0 + q * hh0) / s0
            w = (hv0 * h0h0 - h0v0 * hh0) / h0h0**2
            v = (hh0 / h0h0 - gain) * v0 + q * (h - gain * h0) + w * h0
            s = dot(v, h) + q * dot(h, h) + r
            p.sub_(self.lr * self.shaped(v + q * h, loss / s))
            self.state[i] = (v, h, s)


    def shaped(self, step, gain):
        if self.orthogonal == "none":
            return gain * step
        return whole([max(1, x.shape[0] / x.shape[1]) ** 0.5 * orthogonal(x) for x in parts_of(step)])


def make(named, c):
    def kalman(kind, **options):
        return kind(hidden(named), c["lr"], c["sigma"], c["q"], **options)

    def beside():
        return adamw(rest(named), c["adamw.lr"], 0.0)

    both = [
        {"params": hidden(named), "weight_decay": c["weight-decay"]},
        {"params": rest(named), "weight_decay": 0.0},
    ]
    name = c["name"]
    match name:
        case "adamw":
            return Each(adamw(both, c["lr"], 0.0))
        case "sgd":
            return Each(torch.optim.SGD([p for _, p in named], lr=c["lr"], momentum=0.9))
        case "lion":
            return Each(*(Lion(g["params"], c["lr"], g["weight_decay"]) for g in both))
        case "muon":
            return Each(PartsMuon(hidden(named), c["lr"], c["weight-decay"]), beside())
        case "soap":
            return Each(Soap(hidden(named), c["lr"], c["weight-decay"]), beside())
        case "koala-v" | "koala-m":
            return Each(kalman(Koala, momentum=name == "koala-m"), beside())
        case "koala++" if c["covariance"] != "none":
            own = [c[key] for key in ("lr", "momentum", "beta2", "shampoo-beta", "frequency")]
            return Each(KoalaKronecker(hidden(named), *own, c["covariance"] == "kronecker"), beside())
        case "koala++":
            departures = {key: c[key] for key in ("r", "momentum", "orthogonal")}
            return Each(kalman(KoalaPlusPlus, **departures), beside())
    raise ValueError(f"{name} must have a reference here")


def losses(config):
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    named = list(model.named_parameters())
    optimizer = make(named, config)
    seen = []
    for batch in run["steps"]:
        ids = torch.tensor(batch)
        logits = model(ids[:, :-1]).logits
        each = cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").mean(dim=1)
        loss = each.mean()
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), run["clip"])
        with torch.no_grad():
            optimizer.step(loss.item(), each.detach())
        seen.append(loss.item())
    return seen


json.dump({name: losses(config) for name, config in run["optimizers"].items()}, open(out, "w"))
