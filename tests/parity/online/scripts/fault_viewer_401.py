# SPDX-License-Identifier: MIT
"""The key is not known."""
# alone
import parity_backend
import wandb

parity_backend.fault("Viewer", "401", -1)
try:
    wandb.init()
except Exception as e:
    print(type(e).__name__, e)
