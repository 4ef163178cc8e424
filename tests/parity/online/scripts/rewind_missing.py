# SPDX-License-Identifier: MIT
"""Going back in a run that is not there."""
import wandb

try:
    wandb.init(id="id-nobody", resume_from="id-nobody?_step=1")
except Exception as e:
    print(type(e).__name__, e)
