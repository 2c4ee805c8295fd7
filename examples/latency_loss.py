"""Add a latency term to your own torch training loop: python examples/latency_loss.py [TARGET_MS].

The lines between the marks are what a loop gains; the rest stands for a supernet and its data.
"""

import sys

import torch

import latprof
from latprof.searchers import expected_latency, latency_regularizer

target_ms = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
torch.manual_seed(0)
# --- 1: the device's predictor, and the probabilities that your search learns -------------------
pack = latprof.load_pack("proxyless-cpu-ort1")
sizes = [int(size) for size in pack.space.num_choices]
alphas = [torch.zeros(size, requires_grad=True) for size in sizes]
# ------------------------------------------------------------------------------------------------
worth = [torch.rand(size) * torch.arange(size, 0, -1) / size for size in sizes]
optimizer = torch.optim.Adam(alphas, lr=0.05)
for _ in range(300):
    probabilities = [alpha.softmax(-1) for alpha in alphas]
    training_loss = 1 - sum(map(torch.dot, probabilities, worth)) / len(sizes)
    # --- 2: its expected milliseconds, and the loss with them -----------------------------------
    latency_ms = expected_latency(pack.predictor, probabilities)
    loss = latency_regularizer(training_loss, latency_ms, target_ms, form="mul#log", strength=1.0)
    # --------------------------------------------------------------------------------------------
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# --- 3: the network, and what is known of its latency -------------------------------------------
choices = torch.stack([alpha.argmax() for alpha in alphas])[None].numpy()
predicted = pack.predict(choices)
print(f"expected {latency_ms.item():.3f} ms, target {target_ms:g} ms")
print(f"chosen   {pack.space.architectures(choices)[0]}")
print(
    f"predicted {predicted.latency_ms[0]:.3f} ms "
    f"({predicted.low_ms[0]:.3f} to {predicted.high_ms[0]:.3f})"
)
