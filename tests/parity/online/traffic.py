# SPDX-License-Identifier: MIT
"""What a script made a service send, as plain data with times, ids and batching taken out.

`collect(requests, ...)` reduces the requests that reached the backend:

- a GraphQL request is its operation and its variables; of a run's upserts the first one counts
  whole, the others together, as what they leave (they are gathered in time);
- the file stream of a run is the content of each file by line number, whichever requests brought
  it and how often; which files it says are up; how it ended;
- uploads are names and bytes; of a file that came several times the last bytes count;
- headers are compared for each kind of request.

`sound` asserts what no reordering excuses: an upsert comes before the run's stream, lines have no
holes, nothing follows `complete`, a request that is repeated says the same.
"""

import collections
import json
import re
import urllib.parse

import facts
from recording_backend import text_id

TRANSPORT = {"host", "content-length", "accept-encoding", "accept", "connection", "expect",
             "transfer-encoding"}
APPENDED = ("wandb-history.jsonl", "wandb-events.jsonl")
CLOCK = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?")
MACHINE_FILES = {"wandb-metadata.json"}  # keys are compared, values are the machine's
CONFIG_TIMES = {"start_time", "startedAt", "writerId", "e"}
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
# What the client shows of operations under way is a matter of the moment; so are failed requests,
# which it asks for now and then.
UNDER_WAY = re.compile(r"wandb: (updating|uploading|finishing|waiting|retrying|setting up|saving job)\b.*\n"
                       r"|wandb: \d+ encountered .*, retrying request\n")
NOTICE = re.compile(r"wandb: (WARNING|\d+ encountered|updating|uploading|setting up) ")
SAME_SECOND = re.compile(r"\b(run-STAMP-RUN\d+)-\d+\b")  # a second folder made within it
# A thread of the client that asks once more when all is over.
LATE_THREAD = re.compile(r"^Exception in thread NetStatThr:\n(?:.*\n)*?"
                         r"wandb\.\S*AlreadyJoinedError: .*\n", re.M)
GENERATED = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
CLIENT_ID = re.compile(r"\b[0-9A-Za-z]{128}\b")  # of an artifact that the service made
# What a service made of a job, and staged files; so the manifest's digest differs too.
MADE_FILE = re.compile(r'/[^"\\]*/(tmpfile-\d+|tare-job-\w{6}/wandb-job\.json|artifacts/staging/tmp\w+)')
# Telemetry of what a service does now and then, not of what the program did: 41 is the gathering of
# config and summary records, which is a matter of timing.
OF_THE_MOMENT = {"number 41", 41}


def run_ids(requests):
    """In the order in which the backend first heard of them."""
    found = {}
    for request in requests:
        if request.kind == "graphql":
            variables = json.loads(request.body).get("variables") or {}
            name = variables.get("name") or variables.get("runName")
            if request.name in ("UpsertBucket", "RunResumeStatus", "RewindRun") and name:
                found.setdefault(name, None)
    return list(found)


def values(tree):
    """JSON inside JSON, times and numbers made comparable."""
    if isinstance(tree, dict):
        return {k: "time" if k in facts.TIMES else values(v) for k, v in tree.items()}
    if isinstance(tree, list):
        return [values(v) for v in tree]
    return tree


def config(text):
    found = facts.parse(text)
    inside = found.get("_wandb", {}).get("value", {}) if isinstance(found, dict) else {}
    for key in CONFIG_TIMES & inside.keys():
        inside[key] = "there"
    if "m" in inside:
        inside["m"] = metric_definitions(inside["m"])
    steady(inside)
    return found


def steady(inside):
    features = inside.get("t", {}).get("3", [])
    features[:] = sorted((f for f in features if f not in OF_THE_MOMENT), key=str)


def metric_definitions(found):
    """Sorted by name; "5" is the place of the step metric in a list that has no fixed order."""
    number = re.compile(r"number (\d+)")
    for metric in found:
        if "5" in metric:
            metric["5"] = found[int(number.match(metric["5"])[1]) - 1].get("1")
        if "6" in metric:
            metric["6"] = sorted(metric["6"])
    return sorted(found, key=lambda metric: json.dumps(metric, sort_keys=True))


def upsert_variables(sent):
    found = {k: v for k, v in sent.items() if v is not None}
    if "config" in found:
        found["config"] = config(found["config"])
    if "summaryMetrics" in found:
        found["summaryMetrics"] = values(facts.parse(found["summaryMetrics"]))
    return found


ARTIFACT_IDS = {"artifactID", "artifactManifestID", "baseManifestID", "clientID", "sequenceClientID"}
MANIFEST = re.compile(r"artifacts/manifest-\d+$")


def without_ids(tree):
    """Ids of artifacts are numbers in the order of the requests that made them."""
    if isinstance(tree, dict):
        return {k: "id" if k in ARTIFACT_IDS and v else without_ids(v) for k, v in tree.items()}
    return [without_ids(v) for v in tree] if isinstance(tree, list) else tree


def artifact_files(sent):
    """Files of artifacts are asked for in groups: all of them together."""
    specs = [without_ids(spec) for v in sent for spec in (v.get("input") or v)["artifactFiles"]]
    rest = {json.dumps(without_ids({k: x for k, x in (v.get("input") or v).items()
                                    if k != "artifactFiles"}), sort_keys=True) for v in sent}
    return [{"files": sorted(specs, key=lambda spec: json.dumps(spec, sort_keys=True)),
             "rest": sorted(rest)}]


def operations(requests):
    found = collections.defaultdict(list)
    upserts = collections.defaultdict(list)
    files = collections.defaultdict(set)
    for request in requests:
        if request.kind != "graphql" or not request.applied:
            continue
        variables = json.loads(request.body).get("variables")
        if request.name == "UpsertBucket":
            upserts[variables["name"]].append(upsert_variables(variables))
        elif request.name == "CreateRunFiles":
            place = "/".join([variables["entity"], variables["project"], variables["run"]])
            files[place] |= {facts.LOG_TIME.sub("TIME", name) for name in variables["files"]}
        else:
            if request.name.endswith("ArtifactManifest"):
                variables["digest"] = "of what is compared as an upload"
            if request.name == "CreateArtifactFiles":  # in no fixed order
                specs = (variables.get("input") or variables)["artifactFiles"]
                specs.sort(key=lambda spec: spec["name"])
            if request.name == "EnqueueSweepRun":
                variables["config"] = facts.parse(variables["config"])
            if request.name != "Heartbeat" or variables not in found[request.name]:
                found[request.name].append(variables)
    for name, sent in found.items():
        if name == "CreateArtifactFiles":
            found[name] = artifact_files(sent)
        elif "Artifact" in name:
            found[name] = [without_ids(v) for v in sent]
        if name == "CreateArtifactManifest":
            for v in found[name]:
                v.update(digest=bool(v.get("digest")))
    for run, sent in upserts.items():
        last = {}
        for variables in sent[1:]:
            last |= variables
        upserts[run] = {"first": without_late(sent[0]), "all": sent[0] | last}
    return {"other": dict(found), "upserts": dict(upserts),
            "files": {place: sorted(names) for place, names in files.items()}}


def without_late(variables):
    """The first upsert holds what had come by then: telemetry may or may not be among it."""
    found = dict(variables)
    inside = dict(found.get("config", {}).get("_wandb", {}).get("value", {}))
    for key in ("t", "e", "m"):
        inside.pop(key, None)
    if "config" in found:
        found["config"] = dict(found["config"], _wandb=inside)
    return found


def line(file, text):
    if file == "output.log":
        return CLOCK.sub("TIME", text)
    row = facts.parse(text)
    if file == "wandb-events.jsonl" and isinstance(row, dict):
        return sorted(row)  # which figures, not what they were
    return facts.scrub_times(row) if isinstance(row, dict) else row


class Stream:
    """The file stream of one run, put together from its requests."""

    def __init__(self, run):
        self.run = run
        self.lines = collections.defaultdict(dict)
        self.first = {}  # file -> lowest line number
        self.uploaded = set()
        self.end = []
        self.preempting = False

    def take(self, body):
        assert not self.end or self.end == [body.get("exitcode")], f"{self.run}: after the end"
        for file, chunk in (body.get("files") or {}).items():
            self.take_chunk(file, chunk["offset"], chunk["content"])
        self.uploaded |= set(body.get("uploaded") or [])
        self.preempting |= bool(body.get("preempting"))
        if body.get("complete"):
            self.end = [body.get("exitcode")]

    def take_chunk(self, file, offset, content):
        kept = self.lines[file]
        if file in APPENDED:
            expected = max(kept) + 1 if kept else offset
            assert offset <= expected, f"{self.run}: {file}: a hole before {offset}"
        for i, text in enumerate(content):
            if file in APPENDED:
                assert kept.get(offset + i, text) == text, f"{file} {offset + i} said otherwise"
            kept[offset + i] = text

    def content(self, file):
        """Line by line; warnings appear on the console whenever the client asks for them."""
        kept = {n: line(file, text) for n, text in sorted(self.lines[file].items())}
        if file != "output.log":
            return kept
        return {"from": min(kept), "lines": [text for text in kept.values()
                                             if not NOTICE.search(text)]}

    def found(self):
        return {
            "files": {file: self.content(file) for file in self.lines
                      if file != "wandb-events.jsonl"},
            "events": sorted({key for text in self.lines.get("wandb-events.jsonl", {}).values()
                              for key in line("wandb-events.jsonl", text)}),
            "uploaded": sorted(facts.LOG_TIME.sub("TIME", name) for name in self.uploaded),
            "end": self.end, "preempting": self.preempting,
        }


def writer(request):
    """In shared mode each writer of a run has lines of its own."""
    sent = {k.lower(): v for k, v in request.headers}
    return request.name, sent.get("x-wandb-async-client-id", "")


def streams(requests):
    """Of each run, one for each time that it was begun or resumed, and for each of its writers."""
    begun, open_, found = set(), {}, collections.defaultdict(list)
    for request in requests:
        if request.kind == "graphql" and request.name == "UpsertBucket" and request.applied:
            run = json.loads(request.body)["variables"]["name"]
            begun.add(run)
            for key in [k for k, stream in open_.items() if k[0] == run and stream.end]:
                del open_[key]
        if request.kind != "file_stream":
            continue
        assert request.name in begun, f"{request.name}: streamed before it was known"
        if writer(request) not in open_:
            open_[writer(request)] = Stream(request.name)
            found[request.name].append(open_[writer(request)])
        if request.applied:
            open_[writer(request)].take(json.loads(request.body))
    return {run: [stream.found() for stream in parts] for run, parts in found.items()}


def keys_of(tree):
    if isinstance(tree, dict):
        return {k: keys_of(v) for k, v in tree.items()}
    return type(tree).__name__


def upload(name, data):
    """What a file holds, as it can be compared."""
    base = name.rpartition("/")[2]
    if name.startswith("manifest "):
        return "there"
    if base in MACHINE_FILES:  # its facts are probed in the background: a short run may end first
        return sorted(set(json.loads(data)) - set(facts.MACHINE))
    if base == "wandb-summary.json":
        return facts.scrub_times(facts.parse(data.decode()))
    text = data.decode(errors="replace")
    if base == "config.yaml":
        return config_lines(text)
    if base == "output.log":
        return "".join(x for x in text.splitlines(keepends=True) if not NOTICE.search(x))
    if base in ("wandb_manifest.json", "requirements.txt") or text.isprintable():
        return CLOCK.sub("TIME", text)
    return f"{len(data)} bytes {facts.hashlib.sha256(data).hexdigest()[:16]}"


def config_lines(text):
    import yaml

    tree = yaml.safe_load(text)
    inside = tree.get("_wandb", {}).get("value", {})
    for key in CONFIG_TIMES & inside.keys():
        inside[key] = "there"
    inside["m"] = sorted(json.dumps(keys_of(m), sort_keys=True) for m in inside.get("m", []))
    steady(inside)
    return json.loads(json.dumps(tree, default=str))


def uploads(requests):
    found = {}
    for request in requests:
        if request.kind == "put" and request.applied:
            name = facts.LOG_TIME.sub("TIME", urllib.parse.unquote(request.name))
            if MANIFEST.search(name):  # several; each by what it says
                name = "manifest " + json.dumps(manifest(request.body), sort_keys=True)
            found[name] = upload(name, request.body)
    return found


def manifest(data):
    found = json.loads(data)
    for entry in found.get("contents", {}).values():
        entry.pop("birthArtifactID", None)
        entry.pop("local_path", None)  # a temporary one; so the digest of the manifest is no fixed one
    return found


def headers(requests):
    """Of each kind of request: which headers its requests have in common, or only some."""
    found = collections.defaultdict(list)
    for request in requests:
        kind = request.kind
        sent = {k.lower(): v for k, v in request.headers if k.lower() not in TRANSPORT}
        found[kind].append(tuple(sorted(sent.items())))
    return {kind: sorted(set(sent)) for kind, sent in found.items()}


def faults(requests):
    """How often a request met a fault: a service that gave up early, or did not, shows here."""
    return dict(collections.Counter(r.fault for r in requests if r.fault))


class Names(facts.Names):
    """Also the backend's ids of runs, its address, and ids made at random."""

    def __init__(self, root, ids):
        super().__init__(root, ids)
        self.swaps += [(text_id("Run:" + run_id), f"ID{n}") for n, run_id in enumerate(ids)]

    def __call__(self, text):
        text = SAME_SECOND.sub(r"\1", super().__call__(text))
        text = MADE_FILE.sub("MADE", CLIENT_ID.sub("RANDOM", text))
        return GENERATED.sub("UUID", ADDRESS.sub("BACKEND", text))


def about(text):
    """Sizes of lines with times in them, rounded."""
    return re.sub(r"\d{4,}", lambda n: f"{round(int(n[0]), -2)}", text)


def clean(text):
    return LATE_THREAD.sub("", UNDER_WAY.sub("", facts.COLOURS.sub("", text)))


def collect(requests, root, printed):
    """Facts of `requests`; `printed` is what the script wrote to its console."""
    ids = run_ids(requests)
    names = Names(root, ids)
    printed = {k: clean(v) for k, v in printed.items()}
    found = {
        "graphql": operations(requests), "streams": streams(requests),
        "uploads": uploads(requests), "headers": headers(requests), "faults": faults(requests),
        "strange": sorted({r.kind for r in requests} - {"graphql", "file_stream", "put"}),
        "printed": printed, "runs": len(ids),
    }
    found = facts.rename(found, names)
    for sent in found["graphql"]["other"].values():
        sent.sort(key=lambda v: json.dumps(v, sort_keys=True))
    if "ServerFeaturesQuery" in found["graphql"]["other"]:
        found["graphql"]["other"]["ServerFeaturesQuery"] = "asked"  # once a run, or once for all
    for kind, sent in found["headers"].items():
        found["headers"][kind] = sorted({json.dumps(h) for h in sent})
    warnings = sorted(about(facts.meaning(w)) for w in facts.WARNING.findall(printed["stderr"]))
    return facts.without_warnings(found) | {"warnings": warnings}
