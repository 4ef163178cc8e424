# SPDX-License-Identifier: MIT
"""Random calls with fixed seeds: rows, steps, definitions, summary and config, in any order."""
# shows: history summary metric config
import random

import wandb
from wandb.proto import wandb_internal_pb2 as pb

KEYS = ["a", "b", "a.b", "t/x", "t/y", "t/step", "v/x", "v/step", "nest", "ä"]
SUMMARIES = ["min", "max", "mean", "last", "first", "none", "copy", "min,max", "mean,last,first"]
SEEDS = 8


def value(rng, depth=0):
    kind = rng.randrange(12 if depth < 3 else 9)
    if kind < 3:
        return rng.randrange(-5, 6)
    if kind < 5:
        return round(rng.uniform(-3, 3), 2)
    if kind < 8:
        return [None, True, False, "text", float("nan"), float("inf"), -float("inf"), 2**40][
            rng.randrange(8)]
    if kind == 8:
        return [1, "x", None]
    return {rng.choice(["p", "q", "r.s", "p/q"]): value(rng, depth + 1)
            for _ in range(rng.randrange(4))}


def row(rng):
    return {rng.choice(KEYS): value(rng) for _ in range(rng.randrange(1, 5))}


def log(run, rng):
    how = rng.randrange(6)
    if how < 3:
        run.log(row(rng))
    elif how == 3:
        run.log(row(rng), commit=rng.random() < 0.5)
    else:
        run.log(row(rng), step=max(0, rng.randrange(60) - 5),
                commit=rng.choice([None, True, False]))


def define(run, rng):
    name = rng.choice(KEYS + ["t/*", "v/*", "nest.*"])
    options = {}
    if rng.random() < 0.7:
        options["summary"] = rng.choice(SUMMARIES)
    if rng.random() < 0.4 and not name.endswith("step"):
        options["step_metric"] = rng.choice(["t/step", "v/step", "a"])
        if rng.random() < 0.5:
            options["step_sync"] = rng.random() < 0.5
    if rng.random() < 0.2:
        options["hidden"] = True
    if rng.random() < 0.3:
        options["overwrite"] = True
    run.define_metric(name, **options)


def summarise(run, rng):
    record = pb.SummaryRecord()
    for items in (record.update, record.remove):
        for _ in range(rng.randrange(3)):
            path = [rng.choice(KEYS)] + [rng.choice("pq") for _ in range(rng.randrange(3))]
            item = items.add()
            if len(path) > 1:
                item.nested_key.extend(path)
            else:
                item.key = path[0]
            if items is record.update:
                item.value_json = rng.choice(["1", "-2.5", '"s"', "null", '{"p": 1}', "[1]", "NaN"])
    run._interface._publish_summary(record)


def configure(run, rng):
    run.config.update({rng.choice(KEYS): value(rng)}, allow_val_change=True)


for seed in range(SEEDS):
    rng = random.Random(seed)
    run = wandb.init(settings=wandb.Settings(x_disable_stats=True, quiet=True))
    for _ in range(60):
        rng.choices([log, define, summarise, configure], [12, 2, 2, 1])[0](run, rng)
    items = run._interface.deliver_get_summary().wait_or(timeout=30)
    found = items.response.get_summary_response.item
    print(seed, sorted((i.key or "/".join(i.nested_key)) for i in found))
    run.finish()
