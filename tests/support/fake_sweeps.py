# SPDX-License-Identifier: MIT
"""The sweeps of a FakeBackend: what agents and schedulers ask, answered by a script.

A sweep is there as soon as someone asks for one of that name. A run that was enqueued is pending when
it is first listed, then running, then finished with loss 1; each listing moves it on.
"""

import json

CONFIG = "metric: {name: loss}\nmethod: custom\nscheduler: {engine: scripted}\n"
PLAN = ["pending", "running", "finished"]


class SweepRun:
    def __init__(self, name, config, plan):
        self.name, self.config, self.plan, self.seen = name, config, plan, 0

    @property
    def state(self):
        return self.plan[min(self.seen, len(self.plan)) - 1]

    def listed(self):
        self.seen += 1
        over = self.state == "finished"
        return {"node": {"id": "id-" + self.name, "name": self.name, "state": self.state, "config": self.config,
                         "summaryMetrics": json.dumps({"loss": 1.0} if over else {}),
                         "sampledHistory": [[{"_step": 0, "loss": 2.0}]]}}


class Sweep:
    def __init__(self, name):
        self.name, self.state, self.config, self.runs, self.n_made = name, "RUNNING", CONFIG, [], 0
        self.points = []  # for agents

    def add(self, config, plan=PLAN):
        self.n_made += 1
        self.runs.append(SweepRun(f"{self.name}-{self.n_made}", config, list(plan)))
        return self.runs[-1]


def page(runs):
    return {"pageInfo": {"hasNextPage": False, "endCursor": None}, "edges": [run.listed() for run in runs]}


class FakeSweeps:
    def sweep(self, name):
        self.sweeps = getattr(self, "sweeps", {})
        return self.sweeps.setdefault(name, Sweep(name))

    def sweep_of_id(self, id):
        return self.sweep(id.removeprefix("id-"))

    def run_of_sweep(self, name):
        return next((run for sweep in self.sweeps.values() for run in sweep.runs if run.name == name), None)

    # ---- schedulers

    def on_SweepConfig(self, variables):
        sweep = self.sweep(variables["sweep"])
        return {"project": {"sweep": None if sweep.state == "DELETED" else {
            "id": "id-" + sweep.name, "state": sweep.state, "config": sweep.config, "displayName": "a sweep",
            "controllerRunName": sweep.name + "-log"}}}

    def on_SweepRunsWithHistory(self, variables):
        sweep = self.sweep(variables["sweep"])
        return {"project": {"sweep": {"state": sweep.state, "runs": page(sweep.runs)}}}

    def on_SweepWatchedRuns(self, variables):
        sweep = self.sweep(variables["sweep"])
        names = json.loads(variables["filters"])["name"]["$in"]
        return {"project": {"sweep": {"state": sweep.state},
                            "runs": page([run for run in sweep.runs if run.name in names])}}

    def on_RunState(self, variables):
        run = self.run_of_sweep(variables["run"])
        return {"project": {"run": run and {"id": "id-" + run.name, "state": run.state}}}

    def on_EnqueueSweepRun(self, variables):
        run = self.sweep_of_id(variables["id"]).add(variables["config"])
        return {"enqueueSweepRun": {"id": run.name, "runQueueItemId": None}}

    def on_StopRun(self, variables):
        run = self.run_of_sweep(variables["id"].removeprefix("id-"))
        run.plan = ["killed"]
        return {"stopRun": {"success": True}}

    def on_UpsertSweepState(self, variables):
        self.sweep_of_id(variables["id"]).state = variables["state"]
        return {"upsertSweep": {"sweep": {"state": variables["state"]}}}

    # ---- agents

    def on_UpsertSweep(self, variables):
        sweep = self.sweep("made")
        sweep.points = [{"x": {"value": x}} for x in (1, 2)]
        project = {"id": "UDox", "name": variables["projectName"], "entity": {"id": "RTox", "name": "tester"}}
        return {"upsertSweep": {"sweep": {"name": sweep.name, "project": project}, "configValidationWarnings": []}}

    def on_CreateAgent(self, variables):
        return {"createAgent": {"agent": {"id": "agent-of-" + variables["sweep"]}}}

    def on_Heartbeat(self, variables):
        sweep = self.sweep(variables["id"].removeprefix("agent-of-"))
        commands = []
        if not json.loads(variables["runState"]):
            commands = [{"type": "exit"}]
            if sweep.points:
                args = sweep.points.pop(0)
                commands = [{"type": "run", "run_id": sweep.add(json.dumps(args)).name, "args": args, "logs": []}]
        return {"agentHeartbeat": {"agent": {"id": variables["id"]}, "commands": json.dumps(commands)}}
