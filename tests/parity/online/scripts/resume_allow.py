# SPDX-License-Identifier: MIT
"""A run that ended goes on: rows, console and config behind what the backend has."""
import wandb

run = wandb.init(id="id-goes-on", config={"lr": 1, "old": {"a": 1}}, tags=["a"], notes="n")
for i in range(3):
    run.log({"x": i, "best": -i})
print("first part")
run.summary["kept"] = "k"
run.finish()
run = wandb.init(id="id-goes-on", resume="allow", config={"lr": 2, "new": 3, "old": {"b": 2}})
print(run.resumed, run.step, run.starting_step, dict(run.config), run.tags, run.notes)
print({k: run.summary.get(k) for k in ("x", "best", "kept")})
run.log({"x": 10})
run.log({"x": 11}, step=7)
run.finish()
