"""Find an architecture of about T ms by gradient descent on a shipped predictor: no training here.

A training loop would add its own loss to the latency term. Run: python expected_latency.py 5.0
"""

import sys

import torch

from latprof import load_pack

target_ms = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
pack = load_pack("proxyless-cpu-ort1")
space, predictor = pack.space, pack.predictor

torch.manual_seed(0)
most = int(space.num_choices.max())
padding = torch.arange(most) >= torch.tensor(space.num_choices)[:, None]
alphas = (0.1 * torch.randn(len(space.num_choices), most)).requires_grad_()
optimizer = torch.optim.Adam([alphas], lr=0.05)
for _ in range(300):
    probabilities = alphas.masked_fill(padding, -torch.inf).softmax(-1)
    expected_ms = predictor.expected_latency(probabilities)
    entropy = -(probabilities * (probabilities + 1e-9).log()).sum(-1).mean()
    loss = (expected_ms / target_ms - 1) ** 2 + 0.02 * entropy  # a training loss goes here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

choices = alphas.masked_fill(padding, -torch.inf).argmax(-1).numpy()[None]
prediction = pack.predict(choices)
print(f"expected {expected_ms.item():.3f} ms")
print(f"chosen   {space.architectures(choices)[0]}")
print(
    f"predicted {prediction.latency_ms[0]:.3f} ms "
    f"({prediction.low_ms[0]:.3f} to {prediction.high_ms[0]:.3f})"
)
