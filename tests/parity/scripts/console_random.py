# SPDX-License-Identifier: MIT
"""Text, newlines, carriage returns and cursor moves at random, on both streams."""
# shows: output_raw
import random
import sys

import wandb

TOKENS = ["a", "bc", "loss 0.1 ", " ", "\n", "\r", "\x1b[A", "\x1b[B", "\u00e9", "|####|"]
WEIGHTS = [5, 5, 5, 2, 8, 2, 2, 1, 1, 3]

draw = random.Random(7)
run = wandb.init()
for _ in range(3000):
    stream = sys.stdout if draw.random() < 0.6 else sys.stderr
    stream.write("".join(draw.choices(TOKENS, WEIGHTS, k=draw.randint(1, 6))))
run.finish()
