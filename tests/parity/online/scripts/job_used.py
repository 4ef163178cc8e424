# SPDX-License-Identifier: MIT
"""A run that was launched from a job makes none; one of a job that is known in part completes it."""
import pathlib

import wandb
from wandb.proto import wandb_internal_pb2 as pb

pathlib.Path("part.py").write_text("x = 1\n")
for partial in (None, "", "a-job"):
    settings = wandb.Settings(disable_job_creation=False, disable_git=True)
    with wandb.init(config={"a": {"b": 1}}, settings=settings) as run:
        record = pb.UseArtifactRecord(id="QXJ0aWZhY3Q6MTIz", type="job", name="job-x:v0")
        if partial is not None:
            record.partial.job_name = partial
            record.partial.source_info._version = "v0"
        run._interface._publish_use_artifact(record)
        run._interface._publish_use_artifact(
            pb.UseArtifactRecord(id="QXJ0aWZhY3Q6MTI0", type="dataset", name="set:v0"))
        run.log_code(".")
        run.log({"x": 1})
