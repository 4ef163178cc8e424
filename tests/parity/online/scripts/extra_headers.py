# SPDX-License-Identifier: MIT
"""Headers that the user adds; a name and address of the user."""
import wandb

run = wandb.init(settings=wandb.Settings(
    x_extra_http_headers={"X-Team": "blue", "x-other": "a b"}, email="who@example.com",
    username="who"))
run.log({"x": 1})
run.save(__file__, policy="now")
run.finish()
