# SPDX-License-Identifier: MIT
"""Plain numbers, strings, booleans and None."""
# shows: history summary run exit telemetry
import wandb

run = wandb.init(config={"lr": 1e-3, "layers": 4, "name": "net", "on": True, "off": None})
for i in range(20):
    run.log({"loss": 1.0 / (i + 1), "i": i, "half": i / 2, "tag": f"t{i}", "even": i % 2 == 0,
             "nothing": None})
run.log({"only_once": 7})
run.finish()
