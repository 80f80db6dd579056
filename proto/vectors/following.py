"""What a policy says after changes of the replicas: what `following.json` holds. See `formats/log.md`, "Changes of the replicas"."""
from formats import *
from replicas import Replica

BY = {"operator": "fedcba9876543210"}
a, b, c, d, e, f = (Replica(name, ord(name)) for name in "abcdef")


def member(one):
    return {"name": one.name, "vkey": one.vkey}


class World:
    """A log with changes of its replicas, and what verifies it. `Log`, `LOG`, `LOG2`, `at` and `decision` are those of `make_vectors.py`."""

    def __init__(self, Log, LOG, LOG2, at, decision):
        self.Log, self.LOG, self.LOG2, self.at, self.decision = Log, LOG, LOG2, at, decision
        self.origin = LOG.name

    def begin(self):
        log = self.Log("followed")
        log.publish(self.decision("e-1"), self.at(1))
        return log

    def more(self, log, count, about="e"):
        for n in range(count):
            log.publish(self.decision(f"{about}-{len(log.entries)}-{n}"), self.at(30 + n))

    def change(self, log, version, before, new, minute, by=()):
        """Changes the replicas. Returns the index of the entry, and its receipt under a checkpoint with these lines."""
        of = lambda all: sorted(map(member, all), key=lambda one: one["name"])
        body = {"v": 1, "version": version, "members": of(new), "before": {"version": version - 1, "members": of(before)}, "by": BY, "reason": None}
        index = log.signed("system.members", body, self.at(minute), "members")
        return index, receipt(log.entries[index], index, self.hashes(log), self.signed(log, by))

    def rotate(self, log, minute):
        size, who = len(log.entries) + 1, {"by": {"key": "fedcba9876543210"}, "reason": None}
        event = {"use": "log", "vkey": self.LOG2.vkey, "first_size": size, "old_last_size": size}
        log.signed("system.key", {"use": "log", "vkey": self.LOG2.vkey, "overlap": 0} | who, self.at(minute), "key", event=event | who)
        handover = receipt(log.entries[size - 1], size - 1, self.hashes(log), checkpoint(self.origin, self.hashes(log), self.LOG, self.LOG2))
        return [{"vkey": self.LOG.vkey, "first_size": 1, "last_size": size, "index": 0, "receipt": None},
                {"vkey": self.LOG2.vkey, "first_size": size, "last_size": None, "index": size - 1, "receipt": handover}]

    def hashes(self, log):
        return [leaf_hash(entry) for entry in log.entries]

    def text(self, log):
        return f"{self.origin}\n{len(log.entries)}\n{b64(root(self.hashes(log)))}\n"

    def signed(self, log, by, key=None):
        """The newest checkpoint with the lines of these replicas; a text is a line as it is."""
        text = self.text(log)
        return note(text, key or self.LOG) + "".join(one if isinstance(one, str) else one.line(text) for one in by)

    def document(self, steps, keys=None):
        keys = keys or [{"vkey": self.LOG.vkey, "first_size": 1, "last_size": None, "index": 0, "receipt": None}]
        return {"origin": self.origin, "keys": keys, "members": [{"version": n, "index": index, "receipt": text} for n, (index, text) in enumerate(steps, 1)]}

    def policy(self, all, least=2, group="replicas-version-0", more="", quorum=None, key=None):
        lines = [f"log {(key or self.LOG).vkey}"] + [f"witness replica-{one.name} {one.vkey}" for one in all]
        lines.append(f"group {group} {least} " + " ".join(f"replica-{one.name}" for one in all))
        return "\n".join(lines) + f"\n{more}quorum {quorum or group}\n"


def wrong_line(one):
    """A line of this key over something else."""
    return one.line("nothing of the kind\n")


def following(*of):
    world, cases = World(*of), []

    def case(about, policy, keys, checkpoint, accepted, says="", key=None):
        cases.append({"about": about, "key": (key or world.LOG).vkey, "policy": policy, "keys": keys, "checkpoint": checkpoint, "accepted": accepted, "says": says})

    # One change, agreed by a majority.
    log = world.begin()
    early = world.signed(log, [a, b, c])
    index, step = world.change(log, 1, [a, b, c], [a, b, d], 2, [a, b])
    world.more(log, 1)
    first, document = world.policy([a, b, c]), world.document([(index, step)])
    case("the first policy follows a change", first, document, world.signed(log, [a, d]), True, "agreed at size 3 by replica-a, replica-b of those before")
    case("who left counts for nothing", first, document, world.signed(log, [b, c]), False, "is not met")
    case("a group without a version is taken for the newest set that fits", world.policy([a, b, c], group="mine"), document, world.signed(log, [a, d]), True, "taken for version 0")
    case("a policy of the set after the change", world.policy([a, b, d], group=f"replicas-version-1-entry-{index}"), document, world.signed(log, [a, d]), True)
    case("a policy that names another entry", world.policy([a, b, d], group="replicas-version-1-entry-9"), document, world.signed(log, [a, d]), False, "or names another entry")
    case("a policy that names other replicas", world.policy([a, b, e], group=f"replicas-version-1-entry-{index}"), document, world.signed(log, [a, b]), False, "has other replicas")
    # Whoever asks for all.
    case("all: what is older than the change is judged as before", world.policy([a, b, c], "all"), document, early, True)
    case("all: what is newer is refused, with what to do", world.policy([a, b, c], "all"), document, world.signed(log, [a, b, c, d]), False, "write a policy for them")
    case("a number without a counterpart", world.policy([a, b, c], 1), document, world.signed(log, [a, b, d]), False, "neither a majority nor all")
    # An outside witness beside them.
    w = Replica("w", 77, "witness.example.org")
    beside = world.policy([a, b, c], more=f"witness w {w.vkey}\ngroup both all replicas-version-0 w\n", quorum="both")
    log = world.begin()
    index, step = world.change(log, 1, [a, b, c], [a, b, d], 2, [a, b, wrong_line(w)])
    world.more(log, 1)
    case("a wrong line, in a step, of a witness that the step does not need", beside, world.document([(index, step)]), world.signed(log, [a, d, w]), True)
    case("the same in a checkpoint that is judged", beside, world.document([(index, step)]), world.signed(log, [a, d, wrong_line(w)]), False, "is wrong")
    twin = Replica("d", 77)
    log = world.begin()
    index, step = world.change(log, 1, [a, b, c], [a, b, twin], 2, [a, b])
    world.more(log, 1)
    case("a replica with the public key of the outside witness", beside, world.document([(index, step)]), world.signed(log, [a, w, twin]), False, "one key would count twice")
    copied = Replica("d", 1)
    assert copied.key.public == world.LOG.public
    log = world.begin()
    index, step = world.change(log, 1, [a, b, c], [a, b, copied], 2, [a, b])
    case("a replica with the public key of the log", first, world.document([(index, step)]), world.signed(log, [a, b]), False, "makes a key of the log a replica's")
    outside = [Replica(f"w{n}", 200 + n, f"witness{n}.example.org") for n in (1, 2, 3)]
    log = world.begin()
    index, step = world.change(log, 1, outside, [d, e, f], 2, [*outside, d, e, f])
    world.more(log, 1)
    case("outside witnesses are replaced by keys of the operator", world.policy(outside, group="witnesses"), world.document([(index, step)]), world.signed(log, [d, e]), False, "not those of this log's replicas")
    # Replicas that leave and come back.
    log, fork = world.begin(), world.begin()
    one = world.change(log, 1, [a, b, c], [a, d, e], 2, [a, b, d])
    world.change(fork, 1, [a, b, c], [a, d, e], 2)
    two = world.change(log, 2, [a, d, e], [a, b, c], 4, [a, d, b])
    world.more(log, 1)
    world.more(fork, 7, "forged")
    whole, cut, forged = world.document([one, two]), world.document([one]), world.signed(fork, [d, e])
    now = world.policy([a, b, c], group=f"replicas-version-2-entry-{two[0]}")
    case("replicas that came back", now, whole, world.signed(log, [b, c]), True)
    case("replicas that came back, and a fork by those in between", now, whole, forged, False, "is not met")
    case("replicas that came back, with a document that was cut", now, cut, forged, False, "is not met")
    case("the same without a version: the whole document shows it", world.policy([a, b, c], group="mine"), whole, forged, False, "is not met")
    # The log's key rotates after the change.
    log = world.begin()
    index, step = world.change(log, 1, [a, b, c], [a, b, d], 2, [a, b])
    keys = world.rotate(log, 9)
    world.more(log, 1)
    rotated, newest = world.document([(index, step)], keys), world.signed(log, [a, d], world.LOG2)
    case("from the first log key on", first, rotated, newest, True, "policy followed")
    case("from the newer log key on, with the policy of its time", world.policy([a, b, d], group=f"replicas-version-1-entry-{index}", key=world.LOG2), rotated, newest, True, key=world.LOG2)
    stale = note(world.text(log) + "", world.LOG2) + f"\u2014 {world.origin} {b64(world.LOG.id + bytes(64))}\n" + a.line(world.text(log)) + d.line(world.text(log))
    case("a wrong line of a log key that does not sign this size", first, rotated, stale, True)
    third = world.change(log, 2, [a, b, d], [a, d, e], 20, [])
    third = (third[0], receipt(log.entries[third[0]], third[0], world.hashes(log), world.signed(log, [a, d], world.LOG2)))
    world.more(log, 1)
    longer, last = world.document([(index, step), third], keys), world.signed(log, [d, e], world.LOG2)
    case("a later change, from the newer log key on", world.policy([a, b, d], group="mine", key=world.LOG2), longer, last, True, "taken for version 1", key=world.LOG2)
    case("the first policy with the newer log key can't follow", world.policy([a, b, c], key=world.LOG2), longer, last, False, "begin with the log key that the policy came with", key=world.LOG2)
    return {
        "about": "Policies and changes of the replicas (formats/log.md): whether `checkpoint` counts by `policy` for whoever trusts the log key `key` and has the keys document `keys`. `says`: words of our verifier.",
        "cases": cases,
    }
