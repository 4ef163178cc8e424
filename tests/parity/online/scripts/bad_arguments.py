# SPDX-License-Identifier: MIT
"""What resume, fork and rewind refuse before anything is sent."""
import wandb

for arguments in ({"fork_from": "a?_step=x"}, {"fork_from": "a?loss=1"}, {"resume_from": "a"},
                  {"id": "b", "resume_from": "a?_step=1"},
                  {"fork_from": "a?_step=1", "resume": "must"}):
    try:
        wandb.init(**arguments).finish()
    except Exception as e:
        print(type(e).__name__, e)
run = wandb.init()
run.finish()
