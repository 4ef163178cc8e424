# SPDX-License-Identifier: MIT
"""Several runs open at once (reinit="create_new")."""
# shows: history exit
import wandb

runs = [wandb.init(reinit="create_new", config={"n": n}) for n in range(3)]
for i in range(4):
    for n, run in enumerate(runs):
        run.log({"n": n, "i": i})
for n, run in enumerate(reversed(runs)):
    run.summary["closed"] = n
    run.finish()
