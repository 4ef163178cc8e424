# SPDX-License-Identifier: MIT
"""Shared mode: rows have no step, the service invents none."""
# shows: history summary
import wandb

to_proto = wandb.Settings.to_proto


def shared(self):
    settings = to_proto(self)  # mode="shared" is always online: only the service is told of it
    settings._shared.value = True
    return settings


wandb.Settings.to_proto = shared
run = wandb.init(settings=wandb.Settings(x_label="rank0", x_primary=True))
run.log({"x": 1})
run.log({"a": 1}, commit=False)
run.log({"b": 2})
run.log({"c": 1}, step=7)
run.log({"d": 1}, step=3)
run.log({"open": 1}, commit=False)
run.finish()
second = wandb.init(settings=wandb.Settings(x_label="rank1", x_primary=False,
                                            x_update_finish_state=False, save_code=True))
second.log({"x": 2})
second.finish()
