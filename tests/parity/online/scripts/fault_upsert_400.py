# SPDX-License-Identifier: MIT
"""The run is refused."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "400", -1)
try:
    wandb.init()
except Exception as e:
    print(type(e).__name__, e)
