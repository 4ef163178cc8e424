# SPDX-License-Identifier: MIT
"""The backend fails for longer than init waits."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "500", -1)
try:
    wandb.init(settings=wandb.Settings(init_timeout=2))
except Exception as e:
    print(type(e).__name__, e)
