# SPDX-License-Identifier: MIT
"""The entity is not there."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "404", -1)
try:
    wandb.init()
except Exception as e:
    print(type(e).__name__, e)
