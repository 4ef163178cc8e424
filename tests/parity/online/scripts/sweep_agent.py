# SPDX-License-Identifier: MIT
"""A sweep with an agent in the program: two runs, then the backend sends it home."""
# alone
import time

import wandb
from wandb.agents import pyagent

pyagent.Agent.HEARTBEAT_SLEEP_SECONDS = 0.5
sweep = wandb.sweep({"method": "grid", "metric": {"name": "loss", "goal": "minimize"},
                     "parameters": {"x": {"values": [1, 2]}}}, project="agents", entity="tester")


def train():
    with wandb.init() as run:
        print("x is", run.config["x"])
        run.log({"loss": run.config["x"] / 4})
        time.sleep(1.5)  # some heartbeats


wandb.agent(sweep, function=train, project="agents", entity="tester")
