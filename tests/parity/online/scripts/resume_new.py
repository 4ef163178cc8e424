# SPDX-License-Identifier: MIT
"""resume="allow" and "never" for an id id-nobody has used."""
import wandb

for how in ("allow", "never"):
    run = wandb.init(id=f"id-new-{how}", resume=how)
    print(run.resumed, run.step)
    run.log({"x": 1})
    run.finish()
