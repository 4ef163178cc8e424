# SPDX-License-Identifier: MIT
"""A run in a container image: its tag is an alias of the job. Then sources that are not there."""
import os

import wandb

for source, image in (("", "some.host:5000/team/image:v1.2"), ("image", "plain"), ("repo", "plain"),
                      ("artifact", "plain"), ("strange", "with@sha256:0a1b")):
    os.environ["WANDB_DOCKER"] = image
    settings = wandb.Settings(disable_job_creation=False, disable_git=True)
    if source != "strange":
        settings.job_source = source or None
    with wandb.init(config={"a": 1}, settings=settings) as run:
        run.log({"x": 1})
