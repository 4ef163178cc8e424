# SPDX-License-Identifier: MIT
"""finish with a code, and a with block left by an exception."""
# shows: exit
import wandb

with wandb.init() as run:
    run.log({"x": 1})
try:
    with wandb.init() as run:
        run.log({"y": 1})
        raise KeyError("inside")
except KeyError:
    print("caught")
run = wandb.init()
run.finish(exit_code=17)
