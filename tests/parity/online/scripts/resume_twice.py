# SPDX-License-Identifier: MIT
"""A run that is continued again and again, with console, metrics and summary statistics."""
import wandb

for part in range(3):
    run = wandb.init(id="id-again", resume="allow", name="the name" if part == 0 else None)
    run.define_metric("loss", summary="min")
    for i in range(3):
        run.log({"loss": part * 3 + i, "part": part})
        print("part", part, "row", i)
    run.config[f"part{part}"] = part
    run.finish()
