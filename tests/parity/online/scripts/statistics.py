# SPDX-License-Identifier: MIT
"""Figures of the machine, as event lines."""
import parity_backend
import wandb

run = wandb.init(settings=wandb.Settings(x_disable_stats=False, x_stats_sampling_interval=0.5))
parity_backend.wait_for_lines(run.id, "wandb-events.jsonl", 20)  # a service may send figures of different kinds apart
run.finish()
