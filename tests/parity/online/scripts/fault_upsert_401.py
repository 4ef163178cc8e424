# SPDX-License-Identifier: MIT
"""The key is not taken by the run."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "401", -1)
try:
    wandb.init()
except Exception as e:
    print(type(e).__name__, e)
