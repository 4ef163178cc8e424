# SPDX-License-Identifier: MIT
"""The backend cannot say whether the run is there."""
import parity_backend
import wandb

parity_backend.fault("RunResumeStatus", "404", -1)
try:
    wandb.init(id="id-r", resume="allow")
except Exception as e:
    print(type(e).__name__, e)
