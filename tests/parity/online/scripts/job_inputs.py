# SPDX-License-Identifier: MIT
"""A program that declares its config and files as inputs of its job, with schemas."""
# alone
import pathlib

import wandb
from wandb.sdk import launch

pathlib.Path("part.py").write_text("x = 1\n")
pathlib.Path("conf.json").write_text('{"a": {"b": 1, "c": [1, 2]}, "d": "<x>", "e": {}, "f": null}')
# a type to a list: the peer names several in any order
pathlib.Path("conf.yaml").write_text("""\
base: &base {x: 1, y: two}
derived:
  <<: *base
  y: 0x1F
floats: [1.5, 1e3, .inf, -1_000, 0o17]
truths: [true, False]
words: [yes, No, "true"]
nothing: [~, null]
when: 2026-01-01
numbers: {1: a}
""")
launch.manage_wandb_config(include=["net"], exclude=["net.secret"])
launch.manage_config_file("conf.json", exclude=["a.b"])
launch.manage_config_file("conf.yaml")
run = wandb.init(config={"lr": 0.1, "net": {"secret": 1, "deep": 3, "empty": {}}, "other": 2},
                 settings=wandb.Settings(disable_job_creation=False, disable_git=True))
schema = {"type": "object", "properties": {"lr": {"type": "number", "maximum": 1e21, "minimum": 1e-7, "a": 1.0}}}
run._interface.publish_job_input(  # the SDK needs a package to check schemas, which is not here
    include_paths=[["lr"]], exclude_paths=[], input_schema=schema, run_config=True, file_path="")
run._interface.publish_job_input(
    include_paths=[], exclude_paths=[["f"]], input_schema={"b": "<", "a": [None, True]}, run_config=False,
    file_path="conf.json")
run.log_code(".")
run.log({"x": 1})
run.finish()
