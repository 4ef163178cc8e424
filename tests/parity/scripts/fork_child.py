# SPDX-License-Identifier: MIT
"""A forked child starts a run of its own while its parent's is open."""
# shows: history exit
import os

import wandb

run = wandb.init()
run.log({"parent": 1})
pid = os.fork()
if pid == 0:
    mine = wandb.init(settings=wandb.Settings(console="off"))
    mine.log({"child": 1})
    mine.finish()
    os._exit(0)
print(os.waitpid(pid, 0)[1])
run.log({"parent": 2})
run.finish()
