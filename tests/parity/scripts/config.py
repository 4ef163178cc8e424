# SPDX-License-Identifier: MIT
"""The configuration: updates, removals, nesting, defaults, argparse, files."""
# shows: config run
import argparse

import wandb
from wandb.proto import wandb_internal_pb2 as pb

with open("config-defaults.yaml", "w") as f:
    f.write("from_file:\n  desc: a file\n  value: 12\nlr:\n  value: 9\n")
run = wandb.init(config={"lr": 0.1, "opt": {"name": "adam", "betas": [0.9, 0.999]}})
run.config.update({"lr": 0.2, "opt": {"name": "sgd"}}, allow_val_change=True)
run.config["added"] = 1
run.config.deep = {"a": {"b": 1}}
run.config.setdefaults({"lr": 7, "default": 8})
run.config.update(argparse.Namespace(x=1, y="two"))
removal = pb.ConfigRecord()  # no public call removes a key; other clients do
removal.remove.add(key="added")
removal.remove.add(nested_key=["deep", "a"])
run._interface._publish_config(removal)
run.config["nan"] = float("nan")
run.config["none"] = None
run.config["big"] = 2**70
try:
    run.config["lr"] = 5
except Exception as e:
    print(type(e).__name__)
run.log({"x": 1})
run.config["after"] = (1, 2)
print(sorted(run.config.keys()))
run.finish()
