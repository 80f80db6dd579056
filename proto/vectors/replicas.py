"""Statements and values of replicas: what `replicas.json` holds. See `formats/replicas.md`."""
import hashlib

from formats import *

ORIGIN, HOST, TIME = "log.example/v1/tenants/acme/logs/1", "log.example", 1796002408


class Replica:
    def __init__(self, name, byte, host=HOST):
        self.name, self.key_name, self.seed = name, f"{host}/replicas/{name}", bytes([byte] * 32)
        self.key = Key(self.key_name, self.seed)
        public = bytes([4]) + self.key.public
        self.id = sha256(self.key_name.encode() + b"\n" + public)[:4]
        self.vkey = f"{self.key_name}+{self.id.hex()}+{b64(public)}"

    def line(self, text, time=TIME):
        signature = self.key.private.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
        return f"\u2014 {self.key_name} {b64(self.id + time.to_bytes(8, 'big') + signature)}\n"

    def start(self, process, after, origin=ORIGIN):
        message = f"countersign-replica-start/v1\n{origin}\n{self.name}\n{process}\n{after}\n"
        return {"process": process, "after": after, "signature": b64(self.key.private.sign(message.encode()))}

    def state(self, asked, origin=ORIGIN):
        (verb, what), nonce = next(item for item in asked.items() if item[0] != "nonce"), asked["nonce"]
        line = what if isinstance(what, str) else f"{what['index']} {what['leaf_hash']}"
        message = f"countersign-replica-{verb}/v1\n{origin}\n{self.name}\n{line}\n{nonce}\n"
        return b64(self.key.private.sign(message.encode()))

    def promise(self, missing):
        """That it has posted none of these messages, and will not."""
        return {"name": self.name, "signature": self._sign("not-posted", missing, ("origin", "epoch", "from", "to", "size"))}

    def posted(self, asked):
        """Which entry they gave."""
        return self._sign("posted", asked, ("origin", "epoch", "from", "to", "nonce", "index", "leaf_hash"))

    def _sign(self, what, values, order):
        origin, *rest = (str(values[name]) for name in order)
        lines = [f"countersign-replica-{what}/v1", origin, self.name, *rest]
        return b64(self.key.private.sign("".join(f"{line}\n" for line in lines).encode()))


def lost(a, b, c, stranger):
    """Promises about messages 14 and 15, as `system.gap` holds them, and whether they are a majority's."""
    missing = {"origin": ORIGIN, "epoch": 1, "from": 14, "to": 15, "size": 9}
    all_of = lambda *who: [one.promise(missing) for one in who]  # noqa: E731
    other = lambda **changed: [a.promise(missing), b.promise(missing | changed)]  # noqa: E731
    forged = a.promise(missing) | {"name": "b"}
    cases = [
        ("two of three", all_of(a, c), True), ("all", all_of(a, b, c), True), ("one of three", all_of(a), False), ("none", [], False),
        ("one of them twice", all_of(a, a), False), ("not in the order of names", all_of(c, a), False), ("one of three, and a stranger", all_of(a, stranger), False),
        ("b's name on a's signature", [a.promise(missing), forged], False), ("of another log", other(origin=ORIGIN[:-1] + "2"), False),
        ("of another epoch", other(epoch=2), False), ("of fewer messages", other(to=14), False), ("of another tree size", other(size=8), False),
    ]
    return {"missing": missing, "cases": [{"about": about, "promises": promises, "agrees": agrees} for about, promises, agrees in cases]}


def statements(a, b, log):
    nonce = hashlib.sha256(b"a nonce").hexdigest()[:32]
    leaf, other = (b64(hashlib.sha256(word).digest()) for word in (b"leaf", b"other"))
    holds = {"holds": log.vkey, "nonce": nonce}
    erased = {"erased": {"index": 1044, "leaf_hash": leaf}, "nonce": nonce}
    cases = [
        ("it has the file of a key", holds, a.state(holds), True),
        ("asked again", holds | {"nonce": nonce[::-1]}, a.state(holds), False),
        ("another has it", holds, b.state(holds), False),
        ("it has no byte of an erasure", erased, a.state(erased), True),
        ("of another erasure", erased, a.state(erased | {"erased": {"index": 1045, "leaf_hash": leaf}}), False),
        ("of another entry at that index", erased, a.state(erased | {"erased": {"index": 1044, "leaf_hash": other}}), False),
        ("of another log", erased, a.state(erased, ORIGIN[:-1] + "2"), False),
    ]
    return [{"about": about, "replica": "a", "asked": asked, "statement": said, "holds": fits} for about, asked, said, fits in cases]


def replicas():
    log, other_log = Key(ORIGIN, bytes([1] * 32)), Key(ORIGIN, bytes([5] * 32))
    a, b, c, stranger = (Replica(name, ord(name)) for name in ("a", "b", "c", "x"))
    process = hashlib.sha256(b"a process").hexdigest()[:32]
    good = a.start(process, 17)
    starts = [
        ("as it must be", good, True),
        ("after another statement than the key signed", good | {"after": 18}, False),
        ("another process", good | {"process": process[::-1]}, False),
        ("of another log", a.start(process, 17, ORIGIN[:-1] + "2"), False),
        ("by another replica", b.start(process, 17), False),
    ]
    text = f"{ORIGIN}\n5\n{b64(hashlib.sha256(b'root').digest())}\n"
    another = f"{ORIGIN}\n5\n{b64(hashlib.sha256(b'another').digest())}\n"
    signed = note(text, log)
    values = [
        ("nobody has cosigned", signed, None),
        ("one of three", signed + a.line(text), None),
        ("two of three", signed + a.line(text) + c.line(text), ["a", "c"]),
        ("all, in another order, at other times", signed + c.line(text, TIME + 9) + a.line(text) + b.line(text, 1), ["a", "b", "c"]),
        ("one of three, and a stranger", signed + a.line(text) + stranger.line(text), None),
        ("two of three, and a stranger, whose line is ignored", signed + a.line(text) + stranger.line(text) + b.line(text), ["a", "b"]),
        ("one of them twice", signed + a.line(text) + a.line(text, TIME + 1), None),
        ("two, one of them of another root", signed + a.line(text) + b.line(another), None),
        ("a majority, without the log", text + "\n" + a.line(text) + b.line(text), None),
        ("a majority, with another log key", note(text, other_log) + a.line(text) + b.line(text), None),
        ("a time of 0", signed + a.line(text) + b.line(text, 0), None),
    ]
    gave = {"origin": ORIGIN, "epoch": 1, "from": 14, "to": 15, "nonce": process, "index": 9, "leaf_hash": b64(hashlib.sha256(b"leaf").digest())}
    return {
        "lost": lost(a, b, c, stranger), "posted": gave | {"replica": "a", "signature": a.posted(gave)},
        "about": "Replicas (formats/replicas.md): the statement of `a` that a process starts, and values of the register. `by`: the members whose cosignatures make the majority, or null if the value counts for nothing. `lost`: promises about lost messages. `posted`: what `a` says where it has posted them.",
        "origin": ORIGIN, "log_key": log.vkey, "members": {one.name: one.vkey for one in (a, b, c)},
        "seeds": {one.name: one.seed.hex() for one in (a, b, c)},
        "starts": [{"about": about, "replica": "a", "start": start, "holds": holds} for about, start, holds in starts],
        "statements": statements(a, b, log),
        "values": [{"about": about, "note": value, "by": by} for about, value, by in values],
    }
