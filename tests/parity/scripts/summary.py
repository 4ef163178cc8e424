# SPDX-License-Identifier: MIT
"""The summary: nested updates, removals, what a row overwrites, reading it back."""
# shows: summary history
import wandb

run = wandb.init()
run.summary["best"] = 0.5
run.summary.update({"nested": {"a": 1, "b": {"c": 2}}, "list": [1, 2]})
run.summary["nested"]["b"]["d"] = 3
run.summary["nested"]["new"] = {"deep": {"er": 1}}
run.log({"acc": 0.1, "nested": {"a": 10}})
run.log({"acc": 0.2})
run.summary["acc"] = 0.9
del run.summary["list"]
del run.summary["nested"]["b"]["c"]
run.log({"loss": 1})
run.summary["gone"] = 1
del run.summary["gone"]
run.summary["text"] = "x" * 1000
print(run.summary.get("acc"), run.summary.get("best"), dict(run.summary["nested"]["b"]))
run.log({"acc": 0.3})
print(run.summary["acc"])
run.finish()
