# SPDX-License-Identifier: MIT
"""Entity, project, group, job type, notes and tags from the environment; no code is looked for."""
import os
import wandb

os.environ.update(WANDB_PROJECT="of-the-environment", WANDB_ENTITY="some-team", WANDB_RUN_GROUP="g", WANDB_JOB_TYPE="j",
                  WANDB_NOTES="n \u00e9", WANDB_TAGS="b,a", WANDB_NAME="shown", WANDB_DISABLE_CODE="true",
                  WANDB_DISABLE_GIT="true")
wandb.setup().settings.update_from_env_vars(dict(os.environ))
run = wandb.init()
run.log({"a": 1})
run.finish()
for name in [n for n in os.environ if n.startswith("WANDB_") and n.split("_", 1)[1] in (
        "PROJECT", "ENTITY", "RUN_GROUP", "JOB_TYPE", "NOTES", "TAGS", "NAME", "DISABLE_CODE", "DISABLE_GIT")]:
    del os.environ[name]
