"""What decisions count of earlier ones, counted anew from formats/decision.md: every decision and outcome is in one list."""

from __future__ import annotations

NAMES = {"agent": "id", "session": "session", "run": "run"}
OUTCOMES = ("failed", "not_started", "succeeded", "unknown")


class Histories:
    def __init__(self):
        #: Decisions of ours: leaf index, `data`, producer, the approval that one may open, and outcome with its index.
        self.decided = []

    def void(self, data, size):
        """`history` if what a decision counts changed since `as_of`, or None."""
        named = data.get("history", [])
        if named and data["as_of"] > size:
            return "history"
        for query in named:
            key = data["agent"].get(NAMES[query["same"]])
            for one in self.decided:
                of = one["data"]
                if key is None or of["agent"].get(NAMES[query["same"]]) != key or of["tool"]["name"] != query["tool"]:
                    continue
                if of["tool"]["action"] not in query["actions"] or of["verdict"] not in query["verdicts"]:
                    continue
                at = one["reported"] if "outcomes" in query else one["index"]
                if at is not None and at >= data["as_of"]:
                    return "history"
        return None

    def take(self, index, producer, event, ours, approval):
        """An event that was posted."""
        data = event.get("data")
        is_decision = event["type"] == "dev.countersign.decision.v1"
        if ours and is_decision and not data["tool"]["name"].startswith("countersign"):
            waits = data["verdict"] == "approval_needed"
            self.decided.append({"index": index, "data": data, "producer": producer, "approval": approval if waits else None, "reported": None})
        elif event["type"] == "dev.countersign.execution.v1" and data.get("outcome") in OUTCOMES:
            named = data.get("decision", {}).get("index")
            for one in self.decided:
                if one["index"] == named and one["producer"] == producer and one["approval"] is None and one["reported"] is None:
                    one["reported"] = index

    def happened(self, approval, events, index):
        """What happened to an approval."""
        if any(event["type"] == "execution_reported" for event in events):
            for one in self.decided:
                if one["approval"] == approval and one["reported"] is None:
                    one["reported"] = index
