"""What decisions book on budgets, counted anew from formats/decision.md: sums are counted from a list of all bookings."""

from __future__ import annotations

from datetime import datetime

KINDS = ("budget_warned", "budget_exceeded")
ENDS = ("denied", "expired", "cancelled", "superseded", "revoked", "lapsed")


def nanos(time):
    whole = int(datetime.fromisoformat(time[:19] + "+00:00").timestamp()) * 10**9
    return whole + int(time[20:29]) if time[19:20] == "." else whole


def millionths(amount):
    whole, _, part = amount.partition(".")
    kept, rest = part[:6].ljust(6, "0"), part[6:]
    return int(whole) * 10**6 + int(kept) + (1 if rest.strip("0") else 0)


class Budgets:
    def __init__(self):
        #: Of each decision: its parts, producer, time, deadline, whether it is settled.
        self.booked = {}
        self.told = set()
        self.approvals = {}

    @staticmethod
    def place(asked):
        return asked["id"], asked.get("key"), asked["unit"], asked.get("currency"), asked["from"]

    def counted(self, asked):
        parts = [part for one in self.booked.values() for part in one["parts"] if part["place"] == self.place(asked)]
        return sum(part["excess"] + (0 if part["over"] else part["sum"]) for part in parts)

    def void(self, data, time):
        """Why a decision does not stand: `window`, `budget` or None."""
        for asked in data.get("budgets", {}).get("asked", []):
            if not nanos(asked["from"]) <= nanos(time) < nanos(asked["to"]):
                return "window"
            fits = self.counted(asked) + asked["sum"] <= asked["max"]
            if fits != (asked["booked"] == "within"):
                return "budget"
        return None

    def book(self, index, producer, data, time, approval):
        """Books what a decision asks for. Returns the entries that follow: kind, and the budgets."""
        if "budgets" not in data:
            return []
        asking, notices, parts = data["budgets"], {kind: [] for kind in KINDS}, []
        waits = data["verdict"] == "approval_needed"
        one = self.booked[index] = {"parts": parts, "producer": producer, "within": asking["report_within"], "settled": False}
        one["deadline"] = None if waits else nanos(time) + asking["report_within"] * 10**9
        if waits:
            self.approvals[approval] = index
        for asked in asking["asked"]:
            over = asked["booked"] == "over"
            if asked["booked"] != "refused":
                parts.append({"place": self.place(asked), "unit": asked["unit"], "currency": asked.get("currency"), "reserved": asked["sum"], "sum": asked["sum"], "over": over, "excess": 0})
            within = sum(p["sum"] for o in self.booked.values() for p in o["parts"] if p["place"] == self.place(asked) and not p["over"])
            about = {name: asked[name] for name in ("id", "key", "unit", "currency", "from", "to", "max") if name in asked} | {"within": within}
            for kind, reached in zip(KINDS, ("warn" in asked and self.counted(asked) >= asked["warn"], asked["booked"] != "within")):
                if reached and (kind, self.place(asked)) not in self.told:
                    self.told.add((kind, self.place(asked)))
                    notices[kind].append(about)
        return [(kind, budgets) for kind, budgets in notices.items() if budgets]

    def settle(self, one, part, spent):
        part["sum"], part["excess"] = min(part["reserved"], spent), max(0, spent - part["reserved"])

    def report(self, producer, data, time):
        """An execution: the first one in time counts."""
        link = data.get("decision")
        one = self.booked.get(link["index"]) if isinstance(link, dict) else None
        if not one or one["settled"] or one["producer"] != producer or one["deadline"] is None or nanos(time) > one["deadline"]:
            return
        one["settled"] = True
        cost = data.get("cost", {})
        for part in one["parts"]:
            if part["unit"] == "cost" and cost.get("currency") == part["currency"]:
                self.settle(one, part, millionths(cost["amount"]))

    def happened(self, approval, events, time):
        """A message of an approval."""
        one = self.booked.get(self.approvals.get(approval))
        for event in events if one else []:
            ends = event["type"] in ENDS or event["type"] == "execution_reported" and event["outcome"] == "not_started"
            in_time = one["deadline"] is None or nanos(time) <= one["deadline"]
            if event["type"] == "redeemed" and one["deadline"] is None:
                one["deadline"] = nanos(time) + one["within"] * 10**9
            elif ends and in_time and not one["settled"]:
                one["settled"] = True
                for part in one["parts"]:
                    self.settle(one, part, 0)
