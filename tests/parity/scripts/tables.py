# SPDX-License-Identifier: MIT
"""Tables, their artifacts, custom charts."""
# shows: history artifact files
import wandb

run = wandb.init()
table = wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])
run.log({"table": table})
xy = wandb.Table(columns=["x", "y"], data=[[0, 1], [1, 2]])
run.log({"line": wandb.plot.line(xy, "x", "y", title="t")})
run.log({"bars": wandb.plot.bar(wandb.Table(columns=["l", "v"], data=[["p", 1]]), "l", "v")})
run.log({"conf": wandb.plot.confusion_matrix(y_true=[0, 1, 1], preds=[0, 1, 0],
                                             class_names=["n", "y"])})
growing = wandb.Table(columns=["i"], log_mode="INCREMENTAL")
for i in range(3):
    growing.add_data(i)
    run.log({"growing": growing})
run.finish()
