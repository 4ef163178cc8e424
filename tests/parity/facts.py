# SPDX-License-Identifier: MIT
"""What a script left behind, as plain data with times and ids taken out.

`collect(root)` reads every run folder below `root` (in the order they were started) and what the
script printed. Two services did the same work when the two results are equal.

What is taken out: run ids (RUN0, RUN1, ...), the folder, times and durations, process ids, ids
made at random (client ids of artifacts), and measures of the machine. Everything else stays.
"""

import collections
import gzip
import hashlib
import json
import math
import re

from google.protobuf import json_format

from wandbfile import records

TIMES = {"_runtime", "_timestamp"}  # keys of a row or summary whose value is a time
STAMP = re.compile(r"\b20\d{6}_\d{6}\b")
RANDOM_ID = re.compile(r"\b[a-z0-9]{128}\b")  # client ids of artifacts
SPARKS = re.compile("[▁▂▃▄▅▆▇█]{40,}")  # more rows than characters: a random sample
LOG_TIME = re.compile(r"\d{8}_\d{6}_\d{9}")  # parts of the console
SECONDS = re.compile(r"\b\d+\.\d+s\b")
WARNING = re.compile(r"^wandb: WARNING .*\n", re.M)  # shown when the client next asks for them
TEMPORARY = re.compile(r"(/tmp/tmp[a-z0-9_]+|staging)/[^/]+$")
COLOURS = re.compile(r"\x1b\[[\d;]*m")
FOOTER_LOGS = re.compile(r"Find logs at: \S*logs\b")
TABLE_TIME = re.compile(r"\b(None|\d+)-\d{13}\.")  # increments of a growing table


class Names:
    """Replaces what differs from one execution to the next in any text."""

    def __init__(self, root, run_ids):
        self.swaps = [(str(root.resolve()), "ROOT"), (str(root), "ROOT")]
        self.swaps += [(run_id, f"RUN{n}") for n, run_id in enumerate(run_ids)]

    def __call__(self, text):
        for old, new in self.swaps:
            text = text.replace(old, new)
        text = RANDOM_ID.sub("RANDOM", STAMP.sub("STAMP", text))
        text = SECONDS.sub("SECONDS", text)
        text = SPARKS.sub(lambda found: f"{len(found[0])} SPARKS", text)
        text = FOOTER_LOGS.sub("Find logs at: LOGS", text)
        return TABLE_TIME.sub(r"\1-TIME.", text)


def parse(text):
    """JSON to a value that compares exactly: NaN equals NaN, 0.1 + 0.2 is not 0.3.

    1 equals 1.0, and integers beyond 64 bits are compared as floats: the peer writes numbers anew
    after it has read them, we keep their text (docs/parity.md)."""
    try:
        return json.loads(text, parse_int=number, parse_float=number, parse_constant=number)
    except ValueError:
        return {"not JSON": text}


def number(text):
    value = float(text)
    if math.isfinite(value) and value == int(value):
        exact = int(text) if re.fullmatch(r"-?\d+", text) else int(value)
        return f"number {exact if abs(exact) < 2**63 else float(exact)!r}"
    return f"number {value!r}"


def path_of(item):
    return tuple(item.nested_key) if item.nested_key else (item.key,)


def put(tree, path, value):
    for part in path[:-1]:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[path[-1]] = value


def drop(tree, path):
    for part in path[:-1]:
        tree = tree.get(part)
        if not isinstance(tree, dict):
            return
    tree.pop(path[-1], None)


def scrub_times(tree):
    tree = dict(tree)
    for key in TIMES & tree.keys():
        tree[key] = "time"
    if isinstance(tree.get("_wandb"), dict) and "runtime" in tree["_wandb"]:
        tree["_wandb"] = dict(tree["_wandb"], runtime="time")
    return tree


def item_value(item):
    """The JSON of a value, and beside it the typed form where there is one."""
    kind = item.WhichOneof("value")
    json_form = parse(item.value_json) if item.value_json else None
    if kind is None:
        return json_form
    return {"json": json_form, kind: parse(json.dumps(getattr(item, kind)))}


def history_row(record):
    row = {}
    for item in record.item:
        put(row, path_of(item), item_value(item))
    step = record.step.num if record.HasField("step") else None
    return {"step": step, "row": scrub_times(row)}


def apply_items(tree, record):
    for item in record.update:
        put(tree, path_of(item), parse(item.value_json))
    for item in record.remove:
        drop(tree, path_of(item))


def as_dict(message, without=()):
    found = json_format.MessageToDict(message, preserving_proto_field_name=True)
    for key in ("_info", "control", *without):
        found.pop(key, None)
    return found


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


def artifact(record):
    found = as_dict(record)
    manifest = found.get("manifest", {})
    manifest.get("contents", []).sort(key=lambda entry: entry["path"])
    for entry in manifest.get("contents", []):
        if TABLE_TIME.match(entry["path"]):
            entry["digest"] = found["digest"] = "of a name that has a time in it"
        if "local_path" in entry:
            entry["local_path"] = TEMPORARY.sub("TEMPORARY/NAME", entry["local_path"])
    if "manifest_file_path" in manifest:
        lines = gzip.open(manifest.pop("manifest_file_path")).read()
        manifest["file"] = len(lines.splitlines())
    return found


MACHINE = ("cpu", "cpu_count", "cpu_count_logical", "disk", "memory", "gpu_nvidia", "gpu_type",
           "gpu_count", "cuda_version")


def environment(tree):
    """Facts of the program. Those of the machine are probed in the background, and a short run
    may end first: they are compared over all runs of a script, see `machine`."""
    tree = {k: v for k, v in tree.items() if k not in MACHINE}
    for key in ("started_at", "writer_id"):
        tree[key] = bool(tree.get(key))
    return tree


def machine(tree):
    tree = {k: v for k, v in tree.items() if k in MACHINE}
    for disk in tree.get("disk", {}).values():
        disk.pop("used", None)
    return tree


def numbered(path):
    found = records(str(path))
    assert [r.num for r in found] == list(range(1, len(found) + 1)), f"{path}: numbers"
    return found


def journal(path):
    """Facts of one .wandb file."""
    found = collections.defaultdict(list)
    summary, config, telemetry, env = {}, {}, {}, {}
    output = {"STDOUT": "", "STDERR": ""}
    for record in numbered(path):
        kind = record.WhichOneof("record_type")
        body = getattr(record, kind)
        if kind == "history":
            found["history"].append(history_row(body))
        elif kind == "summary":
            apply_items(summary, body)
        elif kind == "config":
            apply_items(config, body)
        elif kind == "telemetry":
            merge(telemetry, as_dict(body))
        elif kind == "environment":
            merge(env, as_dict(body))
        elif kind == "output_raw":
            output[body.OutputType.Name(body.output_type)] += body.line
        elif kind == "output":  # already made of whole lines by the client
            found["lines"].append(as_dict(body, without=("timestamp",)))
        elif kind == "artifact":
            found["artifact"].append(artifact(body))
        elif kind == "files":
            found["files"] += [as_dict(f) for f in body.files]
        elif kind == "exit":
            found["exit"].append({"exit_code": body.exit_code})
        elif kind == "run":
            apply_items(config, body.config)
            found["run"].append(as_dict(body, without=("start_time", "runtime", "config")))
        elif kind == "stats":
            found["stats seen"] = True
        elif kind == "metric" and body.expanded_from_glob:
            found["metric"].append(dict(as_dict(body), before_row=len(found["history"])))
        elif kind != "header":
            found[kind].append(as_dict(body))
        found["kinds"].append(kind)
    assert found["kinds"][0] == "header" and found["kinds"].count("header") == 1
    found["files"].sort(key=json.dumps)
    found.pop("stats seen", None)
    kinds = sorted(set(found.pop("kinds")) - {"stats"})
    return dict(found, kinds=kinds, summary=scrub_times(summary), config=config,
                telemetry=telemetry, environment=environment(env), machine=machine(env),
                output=output)


def files_left(folder):
    """Every file of the run folder but our and their diagnostics and the journal."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".wandb" or name == "tmp/code":
            continue
        if path.is_dir():
            continue
        name = LOG_TIME.sub("TIME", name)
        if name == "logs/debug-core.log":
            continue  # docs/parity.md
        if name.startswith("logs/"):
            found[name] = "there"
        elif path.suffix in (".log", ".txt", ".json", ".yaml", ".patch", ".py"):
            found[name] = path.read_text(errors="replace")
        else:
            data = path.read_bytes()
            found[name] = f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:16]}"
    return found


def started_at(folder):
    stamp, _, run_id = folder.name.removeprefix("offline-run-").partition("-")
    journals = list(folder.glob("*.wandb"))
    for record in records(str(journals[0])) if journals else []:
        if record.WhichOneof("record_type") == "run":
            at = record.run.start_time
            return (at.seconds, at.nanos, run_id)
    return (1 << 62, 0, run_id)  # an init that gave way to an earlier run leaves no journal


def rename(value, names):
    if isinstance(value, str):
        return names(value)
    if isinstance(value, dict):
        return {names(k) if isinstance(k, str) else k: rename(v, names) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rename(v, names) for v in value]
    return value


def meaning(warning):
    """The service words its warnings in its own way: what they share are numbers and links."""
    return " ".join(sorted(re.findall(r"\b\d+\b|https://\S+[a-z]", warning)))


def without_warnings(value):
    if isinstance(value, str):
        return WARNING.sub("", value)
    if isinstance(value, dict):
        return {k: without_warnings(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_warnings(v) for v in value]
    return value


def collect(root, printed):
    """Facts of everything below `root`; `printed` is what the script wrote to its console."""
    folders = sorted(root.glob("wandb/offline-run-*"), key=started_at)
    run_ids = [folder.name.split("-", 3)[3] for folder in folders]
    names = Names(root, run_ids)
    runs, probed = [], {}
    for folder, run_id in zip(folders, run_ids):
        run = {"left": files_left(folder)}
        for path in folder.glob("*.wandb"):
            assert path.name == f"run-{run_id}.wandb"
            run["journal"] = journal(path)
            probed |= run["journal"].pop("machine")
        runs.append(run)
    printed = dict(printed, stdout=COLOURS.sub("", printed["stdout"]))
    warnings = sorted(meaning(w) for w in WARNING.findall(printed["stderr"]))
    found = {"runs": runs, "printed": printed, "machine": probed}
    return rename(without_warnings(found), names) | {"warnings": warnings}
