# SPDX-License-Identifier: MIT
"""Random programs in raw frames, through the peer's service and through ours.

Each program logs, defines metrics, sets and removes summary values, at random and often badly.
What both services answer on the way (summary, step) and what their journals hold (rows, metric
definitions, the summary that their summary records add up to) must be equal, but for times and
the form of numbers. PARITY_CASES and PARITY_SEED ask for more cases, or others.
"""

import json
import math
import os
import pathlib
import random
import sys

import pytest

import harness

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import service_support as support  # noqa: E402
from wandbfile import records  # noqa: E402

CASES = int(os.environ.get("PARITY_CASES", "60"))
SEED = int(os.environ.get("PARITY_SEED", "1"))

KEYS = ["a", "b", "c", "d.e", "epoch", "tr_1", "tr_2", "n", "_x", "img"]
NESTED = ["a/b", "a/b/c", "img/y", "n", "epoch", "tr_1/q", "d/e"]
VALUES = ["1", "2.5", "-3", "NaN", '"s"', "true", "1e300", '{"x":7}', '{"y":{"z":1},"w":"q"}',
          '{"y":{}}', "[1,2]", "-0.5", "null", "1.0", '{"x":null}', "Infinity",
          "12345678901234567890", "0.1", "nope", "", "{bad", "  5 ", '"\u00e9\\u00e9"']
# (name or glob, statistics, step metric, overwrite); no two globs match the same name, since the
# peer takes any of them
DEFINITIONS = [
    ("a", "min max", "", False), ("b", "mean", "epoch", False), ("tr_*", "max", "epoch", False),
    ("c", "none", "", False), ("d\\.e", "first last", "", False), ("n*", "min", "", False),
    ("a.x", "max", "", False), ("c", "last", "", True), ("epoch", "", "", False),
    ("img.y.z", "max", "", False), ("i*", "last min", "", False), ("a", "copy best", "", False),
]
TIMES = {("_runtime",), ("_timestamp",), ("_wandb", "runtime")}


# -- programs ---------------------------------------------------------------------------------


def value(rng, key):
    return rng.choice(VALUES[:3] if key == "epoch" else VALUES)


def some(rng, keys, most):
    return [(k, value(rng, k)) for k in (rng.choice(keys) for _ in range(rng.randint(0, most)))]


def log_request(record, items, step, flush, how):
    if how == "history":
        target = record.history
        target.step.num = 3
    else:
        target = record.request.partial_history
        target.SetInParent()
        record.control.local = True
    for key, text in items:
        item = target.item.add(value_json=text)
        if how == "flat":
            item.key = key
        else:
            item.nested_key.extend(key.split("/"))
    if step is not None:
        target.step.num = step
        target.step.SetInParent()
    if flush is not None:
        target.action.flush = flush
        target.action.SetInParent()


def define(record, name, statistics, step, overwrite):
    metric = record.metric
    metric.options.defined = True
    setattr(metric, "glob_name" if name.endswith("*") else "name", name)
    for word in statistics.split():
        setattr(metric.summary, word, True)
    if step:
        metric.step_metric = step
        metric.options.step_sync = True
    if overwrite:
        metric._control.overwrite = True


def summarize(record, updates, removals):
    record.summary.SetInParent()
    for key, text in updates:
        record.summary.update.add(key=key, value_json=text)
    for path in removals:
        record.summary.remove.add(nested_key=path)


def program(rng):
    """A list of functions that fill a Record, and of the words "summary" and "step"."""
    for _ in range(rng.randint(5, 40)):
        kind = rng.random()
        if kind < 0.50:
            yield log_request, (some(rng, KEYS, 4), None, None, "flat")
        elif kind < 0.70:
            yield log_request, (some(rng, KEYS, 3), rng.randint(0, 12),
                                rng.choice([None, True, False]), "flat")
        elif kind < 0.76:
            yield log_request, (some(rng, NESTED, 3), None, None,
                                rng.choice(["nested", "history"]))
        elif kind < 0.86:
            yield define, rng.choice(DEFINITIONS)
        elif kind < 0.92:
            yield summarize, (list(dict(some(rng, KEYS, 2)).items()), [])
        elif kind < 0.96:
            yield summarize, ([], [rng.choice([["a"], ["tr_1"], ["img", "y"], ["nothing"]])])
        else:
            yield rng.choice(["summary", "step"]), ()


# -- what came of it --------------------------------------------------------------------------


def plain(x):
    """Numbers by value alone."""
    if isinstance(x, bool) or not isinstance(x, (int, float, list, dict)):
        return x
    if isinstance(x, list):
        return [plain(v) for v in x]
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return "NaN" if math.isnan(x) else float(x)


def read(text):
    try:
        return plain(json.loads(text))
    except ValueError:
        return f"bad: {text}"


def path_of(item):
    return tuple(item.nested_key) or (item.key,)


def items(those):
    return {path_of(i): "time" if path_of(i) in TIMES else read(i.value_json) for i in those}


def spread(flat):
    out = {}
    todo = list(flat.items())
    while todo:
        path, what = todo.pop()
        if isinstance(what, dict):
            todo += [(path + (k,), v) for k, v in what.items()]
        else:
            out[path] = what
    return out


def put(tree, path, what):
    for other in [p for p in tree if p[: len(path)] == path or path[: len(p)] == p]:
        del tree[other]
    tree[path] = what


def journal(file):
    rows, metrics, summary = [], [], {}
    for r in records(file):
        kind = r.WhichOneof("record_type")
        if kind == "history":
            step = r.history.step.num if r.history.HasField("step") else None
            rows.append((step, spread(items(r.history.item))))
        elif kind == "metric":
            metrics.append(r.metric)
        elif kind == "summary":
            for i in r.summary.update:
                if not str(read(i.value_json)).startswith("bad: "):
                    put(summary, path_of(i), read(i.value_json))
            for i in r.summary.remove:
                gone = path_of(i)
                summary = {p: v for p, v in summary.items() if p[: len(gone)] != gone}
    for path in [p for p in summary if p in TIMES or p == ("_step",)]:
        del summary[path]
    return {"rows": rows, "metrics": metrics, "summary": summary}


def ask(client, run, what):
    if what == "step":
        response = client.ask(run.request("history_step"))
        if response.HasField("error_response"):
            return "no step"
        return response.result_communicate.response.history_step_response.step
    response = client.must(run.request("get_summary")).result_communicate.response
    return items(response.get_summary_response.item)


def play(service, run, steps):
    for folder in ("files", "logs"):
        (run.dir / folder).mkdir(parents=True)
    client = service.connect()
    support.start_run(client, run)
    answers = []
    for fill, arguments in steps:
        if isinstance(fill, str):
            answers.append(ask(client, run, fill))
            continue
        request, record = run.record()
        fill(record, *arguments)
        client.send(request)
    client.must(run.exit())
    answers.append(ask(client, run, "summary"))
    client.send(run.finish())
    client.sock.shutdown(1)
    assert client.is_closed()
    client.close()
    return {"answers": answers, **journal(run.file)}


@pytest.mark.parametrize("shared", [False, True], ids=["own steps", "shared"])
def test_random_programs_leave_the_same(tmp_path, monkeypatch, shared):
    services = {}
    for name, binary in ("theirs", harness.THEIRS), ("ours", harness.OURS):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(support, "TARE", str(binary))
        services[name] = support.Service(tmp_path / name)
    idle = [s.connect() for s in services.values()]  # a service ends with its last connection
    n_rows = n_values = 0
    with services["theirs"], services["ours"]:
        for case in range(CASES // (2 if shared else 1)):
            seed = f"{SEED} {case}"
            steps = list(program(random.Random(seed)))
            found = {}
            for name, service in services.items():
                run = support.Run(tmp_path / name, f"run{case}", _shared=shared)
                found[name] = play(service, run, steps)
            n_rows += len(found["theirs"]["rows"])
            n_values += len(found["theirs"]["summary"])
            for what in found["theirs"]:
                assert found["ours"][what] == found["theirs"][what], (seed, what)
    assert n_rows > CASES and n_values > CASES
    for client in idle:
        client.close()
