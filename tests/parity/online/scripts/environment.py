"""What the environment says of a run: names, group, tags, ignored files, console, code and git left out."""
# alone
import os
import pathlib

for name in ("WANDB_PROJECT", "WANDB_ENTITY"):
    os.environ.pop(name, None)
os.environ.update(
    WANDB_NAME="a name \u00e9", WANDB_NOTES="line one\nline two", WANDB_TAGS="one,two ,three", WANDB_RUN_GROUP="g 1",
    WANDB_JOB_TYPE="j/t", WANDB_PROJECT="env-project", WANDB_ENTITY="env entity", WANDB_RUN_ID="env-id",
    WANDB_IGNORE_GLOBS="*.log,*.skip", WANDB_DISABLE_GIT="true", WANDB_DISABLE_CODE="true", WANDB_CONSOLE="off",
    WANDB_HOST="my host", WANDB_USERNAME="somebody", WANDB_PROGRAM="prog.py")
import wandb  # noqa: E402

pathlib.Path("x.skip").write_text("1")
pathlib.Path("y.keep").write_text("1")
run = wandb.init(config={"a": 1})
print(run.name, run.notes, run.tags, run.group, run.job_type, run.project, run.entity, run.id)
run.save("x.skip")
run.save("y.keep")
run.log({"x": 1})
run.finish()
