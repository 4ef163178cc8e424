# SPDX-License-Identifier: MIT
"""An id used again without resume: what is there is written over."""
import wandb

for n in (3, 2):
    run = wandb.init(id="id-over", config={"n": n})
    for i in range(n):
        run.log({"n": n, "i": i})
    run.finish()
