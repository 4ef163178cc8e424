# SPDX-License-Identifier: MIT
"""Dictionaries in rows: keys that meet, grow and change their type."""
# shows: history summary
import wandb

run = wandb.init()
run.log({"a": {"b": {"c": 1, "d": 2.5}, "e": "x"}, "f": [1, 2, {"g": 3}]})
run.log({"a": {"b": {"c": 2}}})
run.log({"a": {"b": 5}})
run.log({"a": 6})
run.log({"a": {"new": {}}})
run.log({"a.b": 1, "a/b": 2, "empty": {}, "list": []})
run.log({"x": {"y": 1}, "x.y": 2})
run.finish()
