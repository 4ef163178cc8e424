# SPDX-License-Identifier: MIT
"""The project is closed to the user."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "403", -1)
try:
    wandb.init()
except Exception as e:
    print(type(e).__name__, e)
