#!/usr/bin/env python3
"""Checks everything in this folder against itself: pages, schemas, vectors, examples.

    python3 check.py        needs the packages `cryptography` and `jsonschema`

1. `vectors/make_vectors.py` writes the same bytes again.
2. A strict JSON reader and a receipt verifier, written from the pages, agree with the vectors.
3. Every example in a page (a code block whose first line names its schema) fits, and every entry, disclosure, checkpoint
   and receipt in a page is one of the vectors, byte for byte.
4. The example life of an approval fits its schema, message by message, and nothing with a member less does; the codes of errors.md are those of the
   schema of problems.
5. The examples are events that would be posted; their call digests are right; numbers of a source have no gap.
6. The example question, its answer and the entry that records it belong together; the policies of the page are those of the vector.
"""
import filecmp, pathlib, re, subprocess, sys, tempfile
from decimal import Decimal

import jsonschema, referencing
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "vectors"))
sys.dont_write_bytecode = True
from formats import *
from token_check import check_calls, check_tokens, verify_strict

failures = []


def expect(holds, what):
    if not holds:
        failures.append(what)


# formats/strict-json.md
class Refused(Exception):
    pass


NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
HEX = re.compile(r"[0-9a-fA-F]{4}")
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Reader:
    def __init__(self, data):
        try:
            self.text, self.at = data.decode("utf-8"), 0
        except UnicodeDecodeError:
            raise Refused("json_utf8")

    def whole(self):
        value = self.value(0)
        self.space()
        if self.at != len(self.text):
            raise Refused("json_syntax")
        return value

    def peek(self):
        return self.text[self.at : self.at + 1]

    def space(self):
        while self.peek() and self.peek() in " \t\r\n":
            self.at += 1

    def take(self, token, code="json_syntax"):
        if not self.text.startswith(token, self.at):
            raise Refused(code)
        self.at += len(token)

    def value(self, depth):
        self.space()
        c = self.peek()
        for token, value in (("true", True), ("false", False), ("null", None)):
            if c == token[0]:
                self.take(token)
                return value
        if c == '"':
            return self.string()
        if c and c in "[{":
            if depth == 32:
                raise Refused("json_depth")
            return self.list(depth + 1, c)
        found = NUMBER.match(self.text, self.at)
        if not found:
            raise Refused("json_syntax")
        self.at = found.end()
        return exact(found.group())

    def list(self, depth, opening):
        closing, items, names = {"[": ("]", [], None), "{": ("}", {}, [])}[opening]
        self.at += 1
        self.space()
        if self.peek() == closing:
            self.at += 1
            return items
        while True:
            if names is None:
                items.append(self.value(depth))
            else:
                self.space()
                name = self.string() if self.peek() == '"' else self.take('"')
                self.space()
                self.take(":")
                items[name] = self.value(depth)
                names.append(name)
            self.space()
            if self.peek() == closing:
                self.at += 1
                if names is not None and len(set(names)) < len(names):
                    raise Refused("json_duplicate_key")
                return items
            self.take(",")

    def string(self):
        self.take('"')
        out = []
        while True:
            c = self.peek()
            self.at += 1
            if not c or c < " ":
                raise Refused("json_syntax")
            if c == '"':
                return "".join(out)
            out.append(self.escape() if c == "\\" else c)

    def escape(self):
        c = self.peek()
        self.at += 1
        if c != "u":
            if c not in ESCAPES:
                raise Refused("json_syntax")
            return ESCAPES[c]
        unit = self.hex()
        if 0xD800 <= unit < 0xDC00:
            self.take("\\u", "json_surrogate")
            low = self.hex()
            if 0xDC00 <= low < 0xE000:
                return chr(0x10000 + (unit - 0xD800 << 10) + low - 0xDC00)
        if 0xD800 <= unit < 0xE000:
            raise Refused("json_surrogate")
        return chr(unit)

    def hex(self):
        found = HEX.match(self.text, self.at)
        if not found:
            raise Refused("json_syntax")
        self.at += 4
        return int(found.group(), 16)


def exact(text):
    """The number, if RFC 8785 writes the same decimal value and it is not integral beyond 2^53-1."""
    n = float(text)
    if n in (math.inf, -math.inf) or n == int(n) and abs(n) > 2**53 - 1 or norm(text) != norm(number(n)):
        raise Refused("json_number")
    return int(n) if n == int(n) else n


def norm(text):
    """(sign, digits, power of ten): works where an exponent is too long for Decimal."""
    mantissa, _, power = text.lower().partition("e")
    sign, digits, exponent = Decimal(mantissa).as_tuple()
    digits, exponent = "".join(map(str, digits)).lstrip("0"), exponent + int(power or 0)
    short = digits.rstrip("0")
    return (sign, short, exponent + len(digits) - len(short)) if short else (0, "", 0)


strict = lambda data: Reader(data if isinstance(data, bytes) else data.encode()).whole()


# formats/receipt.md
def unbase64(text, length=None):
    data = base64.b64decode(text, validate=True)
    if b64(data) != text or length not in (None, len(data)):
        raise ValueError("base64")
    return data


def read_vkey(text):
    name, id, key = text.split("+", 2)
    key = unbase64(key, 33)
    if key[0] != 1 or sha256(name.encode() + b"\n" + key)[:4].hex() != id:
        raise ValueError("vkey")
    return name, bytes.fromhex(id), Ed25519PublicKey.from_public_bytes(key[1:])


def open_note(text, keys):
    """The signed text and the keys that signed it."""
    body, empty, lines = text.rpartition("\n\n")
    if not empty or not lines.endswith("\n"):
        raise ValueError("no signatures")
    signers = []
    for line in lines[:-1].split("\n"):
        dash, name, sig = line.split(" ")
        sig = unbase64(sig)
        if dash != "\u2014" or len(sig) < 5:
            raise ValueError("signature line")
        for key in keys:
            if (name, sig[:4]) == key[:2]:
                key[2].verify(sig[4:], (body + "\n").encode())
                if key in signers:
                    raise ValueError("twice")
                signers.append(key)
    if not signers:
        raise ValueError("not signed")
    return body + "\n", signers


def open_checkpoint(text, keys):
    body, signers = open_note(text, keys)
    origin, size, root_text, end = body.split("\n")
    if end or str(int(size)) != size or any(key[0] != origin for key in signers):
        raise ValueError("checkpoint")
    return int(size), unbase64(root_text, 32)


def cosigned(text, vkeys):
    """Position and time of each cosignature (log.md, Cosignatures); None if the note is refused."""
    try:
        body, _, lines = text.rpartition("\n\n")
        if not lines.endswith("\n"):
            raise ValueError
        found = []
        for line in lines[:-1].split("\n"):
            _, name, sig = line.split(" ")
            sig = unbase64(sig)
            for at, vkey in enumerate(vkeys):
                its_name, its_id, key = vkey.split("+", 2)
                key = unbase64(key, 33)
                if key[0] != 4 or sha256(its_name.encode() + b"\n" + key)[:4].hex() != its_id:
                    raise ValueError("vkey")
                if (name, sig[:4].hex()) == (its_name, its_id):
                    time = int.from_bytes(sig[4:12], "big")
                    if len(sig) != 76 or not 0 < time < 2**63 or at in [one[0] for one in found]:
                        raise ValueError
                    message = f"cosignature/v1\ntime {time}\n{body}\n"
                    Ed25519PublicKey.from_public_bytes(key[1:]).verify(sig[12:], message.encode())
                    found.append([at, time])
        return found
    except (ValueError, InvalidSignature):
        return None


def root_from(leaf, index, size, hashes):
    """RFC 9162, 2.1.3.2."""
    if index >= size:
        return None
    number, last, node = index, size - 1, leaf
    for sibling in hashes:
        if last == 0:
            return None
        if number & 1 or number == last:
            node = node_hash(sibling, node)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        number, last = number >> 1, last >> 1
    return None if last else node


def verify_receipt(text, keys):
    """None, or the class of the error."""
    try:
        head, empty, signed = text.partition("\n\n")
        lines = head.split("\n")
        if not empty or lines[0] != "c2sp.org/tlog-proof@v1" or lines[1][:6] != "extra " or lines[2][:6] != "index ":
            raise ValueError
        entry, index, hashes = unbase64(lines[1][6:]), int(lines[2][6:]), [unbase64(line, 32) for line in lines[3:]]
        if str(index) != lines[2][6:] or index >= 2**64 or len(hashes) > 64:
            raise ValueError
    except (ValueError, IndexError):
        return "malformed", None
    try:
        size, root = open_checkpoint(signed, keys)
    except (ValueError, InvalidSignature):
        return "checkpoint", None
    return (None, entry) if root_from(leaf_hash(entry), index, size, hashes) == root else ("not_included", None)


# the folder
load = lambda name: json.loads((HERE / name).read_text())
SCHEMAS = {path.name.removesuffix(".schema.json"): json.loads(path.read_text()) for path in sorted((HERE / "schemas").iterdir())}
REGISTRY = referencing.Registry().with_resources((s["$id"], referencing.Resource.from_contents(s)) for s in SCHEMAS.values())
VALIDATORS = {
    name: jsonschema.Draft202012Validator(s, registry=REGISTRY, format_checker=jsonschema.FormatChecker()) for name, s in SCHEMAS.items()
}


def fits(name, value, what, fit=True):
    errors = [error.message for error in VALIDATORS[name].iter_errors(value)]
    expect(bool(errors) != fit, f"{what}: schema {name}: {errors or 'should refuse it'}")


def check_vectors():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-B", HERE / "vectors/make_vectors.py", folder], check=True)
        for path in pathlib.Path(folder).rglob("*"):
            same = path.is_dir() or filecmp.cmp(path, HERE / "vectors" / path.relative_to(folder), shallow=False)
            expect(same, f"{path.relative_to(folder)} is not what make_vectors.py writes")
    for case in load("vectors/strict-json.json")["cases"]:
        try:
            found = None, jcs_text(strict(base64.b64decode(case["input"])))
        except Refused as refused:
            found = str(refused), None
        expect(found == (case["code"], case["canonical"]), f"strict-json {case['name']}: {found}")
    known = {"entry": set(), "disclosure": set()}
    for path in sorted((HERE / "vectors/entry").iterdir()):
        log = json.loads(path.read_text())
        hashes = []
        for message in log["messages"]:
            check_message(message, f"{path.name} {message['seq']}")
            for entry in message["entries"]:
                expect(entry["index"] == len(hashes), f"{path.name}: index {entry['index']}")
                hashes.append(leaf_hash(entry["entry"].encode()))
                known["entry"].add(entry["entry"])
                known["disclosure"].update(entry["disclosures"])
        expect((len(hashes), b64(root(hashes))) == (log["size"], log["root"]), f"{path.name}: root")
    keys = [read_vkey((HERE / "vectors/receipt/log.key").read_text().rstrip("\n"))]
    for case in load("vectors/cosignature.json")["cases"]:
        expect(cosigned(case["note"], case["cosigners"]) == case["cosigned"], f"cosignature: {case['about']}")
    check_replicas(load("vectors/replicas.json"))
    for case in load("vectors/receipt/cases.json")["cases"]:
        text = (HERE / "vectors/receipt" / case["file"]).read_bytes().decode()
        found, entry = verify_receipt(text, keys)
        expect(found == case["error"], f"receipt {case['file']}: {found}")
        if entry:
            known["entry"].add(entry.decode())
    document = load("vectors/keys.json")
    fits("keys", document, "keys.json")
    first, second = document["keys"]
    error, entry = verify_receipt(second["receipt"], [read_vkey(first["vkey"])])
    expect(error is None and json.loads(entry)["event"]["vkey"] == second["vkey"], f"keys.json: {error}")
    for case in load("vectors/opa.json")["cases"]:
        fits("event", case["event"], f"opa.json {case['name']}")
        expect(opa_event(case["element"]) == case["event"], f"opa.json {case['name']}")
    check_signatures(load("vectors/journal-signature.json"))
    known["token"] = check_tokens(load("vectors/override-token.json"), strict, expect)
    check_calls(load("vectors/call-digest.json"), strict, expect)
    return known


def check_replicas(vector):
    """formats/replicas.md."""
    names, vkeys = list(vector["members"]), list(vector["members"].values())
    for case in vector["starts"]:
        fits("replica-start", case["start"], f"replicas: {case['about']}")
        key = Ed25519PublicKey.from_public_bytes(unbase64(vector["members"][case["replica"]].split("+", 2)[2], 33)[1:])
        start = case["start"]
        lines = ["countersign-replica-start/v1", vector["origin"], case["replica"], start["process"], str(start["after"]), ""]
        try:
            key.verify(base64.b64decode(start["signature"]), "\n".join(lines).encode())
            holds = True
        except InvalidSignature:
            holds = False
        expect(holds == case["holds"], f"replicas: {case['about']}")
    for case in vector["values"]:
        try:
            open_checkpoint(case["note"], [read_vkey(vector["log_key"])])
            found = cosigned(case["note"], vkeys) or []
        except (ValueError, InvalidSignature):
            found = []
        by = sorted(names[at] for at, _ in found)
        expect((by if len(by) > len(names) // 2 else None) == case["by"], f"replicas: {case['about']}: {by}")


def check_signatures(vector):
    name, id, key = read_vkey(vector["vkey"])

    def holds(place, body, header):
        expected, _, signature = header.partition(".")
        signed = f"countersign-journal-v1\n{place['tenant']}\n{place['epoch']}\n{place['subject']}\n{place['expected']}\n".encode() + body
        try:
            key.verify(base64.urlsafe_b64decode(signature + "=="), signed)
        except (InvalidSignature, ValueError):
            return False
        return expected == str(place["expected"]) and "=" not in header

    expect(holds(vector["place"], base64.b64decode(vector["body"]), vector["header"]), "journal-signature")
    for case in vector["refused"]:
        expect(not holds(case["place"], base64.b64decode(case["body"]), case["header"]), f"journal-signature {case['why']}")


def check_message(message, what):
    body = base64.b64decode(message["body"])
    status = message["outcome"]["status"]
    if message["subject"].startswith("decisions."):
        codes = ("json_", "not_an_object", "payload_fields", "subject")
        if status == "rejected" and "Countersign-Refused" in message["headers"]:
            expect(message["outcome"]["reason"] == message["headers"]["Countersign-Refused"], f"{what}: told another reason")
        elif status == "rejected" and message["subject"].startswith("decisions.countersign"):
            expect(message["outcome"]["reason"] == "reserved_tool", f"{what}: the producer's name is ours")
        elif status == "rejected" and not message["outcome"]["reason"].startswith(codes):
            fits("event", strict(body), what, fit=False)
        elif status != "rejected":
            fits("event", strict(body), what)
        elif message["outcome"]["reason"].startswith("json_"):
            try:
                expect(not strict(body), f"{what}: accepted")
            except Refused as refused:
                expect(str(refused) == message["outcome"]["reason"], f"{what}: {refused}")
    elif status != "rejected" and message["subject"].startswith("system."):
        fits(message["subject"].replace(".", "-"), strict(body), what)
    for entry in message["entries"]:
        data = entry["entry"].encode()
        value = strict(data)
        fits("entry", value, f"{what} {entry['kind']}")
        if entry["kind"] == "approval":
            fits("approval-message", value["event"], what)
        expect(jcs(value) == data and len(data) <= 65535, f"{what}: not RFC 8785")
        expect(b64(leaf_hash(data)) == entry["leaf_hash"], f"{what}: leaf hash")
        expect(digest(jcs_text([entry["commit_salt"], "", strict(entry["whole"])])) == value["commit"], f"{what}: commit")
        expect(sorted(map(digest, entry["disclosures"])) == value["payload"], f"{what}: payload")
        expect(all(len(strict(text)) == 3 for text in entry["disclosures"]), f"{what}: disclosures")


def check_pages(known):
    pages = sorted(HERE.rglob("*.md"))
    seen = {"entry": set(), "blocks": 0}
    for page in pages:
        text, name = page.read_text(), page.relative_to(HERE)
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            expect((page.parent / target).exists(), f"{name}: link to {target}")
        for info, block in re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S):
            language, _, schema = info.partition(" ")
            seen["blocks"] += bool(schema)
            if schema in VALIDATORS:
                value = strict(block)
                fits(schema, value, f"{name}")
                if schema == "keys":
                    expect(value == load("vectors/keys.json"), f"{name}: not vectors/keys.json")
                if schema == "entry":
                    expect(block.rstrip("\n") in known["entry"], f"{name}: an entry that is in no vector: {block:.80}")
                    seen["entry"].add(value["kind"])
            elif schema == "disclosure":
                for line in block.splitlines():
                    expect(line in known["disclosure"], f"{name}: a disclosure that is in no vector: {line:.80}")
            elif schema == "receipt":
                keys = [read_vkey((HERE / "vectors/receipt/log.key").read_text().rstrip("\n"))]
                expect(verify_receipt(block, keys)[0] is None, f"{name}: receipt")
            elif schema == "checkpoint":
                keys = [read_vkey((HERE / "vectors/receipt/log.key").read_text().rstrip("\n"))]
                open_checkpoint(block, keys)
            elif schema == "token":
                expect(block.replace("\n", "") in known["token"], f"{name}: a token that is in no vector, or does not verify")
            elif schema == "feed":
                *lines, end = block.splitlines()
                fits("feed-end", strict(end), str(name))
                for line in lines:
                    entry = re.fullmatch(r'\{"index":[0-9]+,"entry":(.*)\}', line).group(1)
                    expect(entry in known["entry"], f"{name}: an entry that is in no vector: {entry:.80}")
            else:
                expect(not schema, f"{name}: unknown block {info}")
    missing = set(VALIDATORS["entry"].schema["properties"]["kind"]["enum"]) - seen["entry"]
    expect(not missing, f"no example of {missing}")
    return len(pages), seen["blocks"]


def check_index():
    """Every page is named by the index, every schema, vector and example by a page."""
    linked = set()
    for page in HERE.rglob("*.md"):
        targets = {page.parent / target for target in re.findall(r"\]\(([^)#:]+)", page.read_text())}
        targets = {target.resolve() for target in targets}
        linked |= targets
        if page == HERE / "README.md":
            for format in (HERE / "formats").iterdir():
                expect(format.resolve() in targets, f"README.md does not name {format.name}")
    for folder in ("schemas", "examples"):
        for path in (HERE / folder).iterdir():
            expect(path.resolve() in linked, f"no page names {folder}/{path.name}")


def check_approvals():
    lines = re.findall(r'^(\S+Z) (\{"approval_id":.*\})$', (HERE / "formats/approval.md").read_text(), re.M)
    expect(len(lines) > 5, "approval.md: no life of an approval")
    for time, line in lines:
        message = strict(line)
        what = f"approval.md {message['n']}"
        fits("approval-message", message, what)
        expect(jcs_text(message) == line, f"{what}: not RFC 8785")
        fits("approval-message", {**message, "more": 1}, what, fit=False)
        for members in (message, *message["events"]):
            for name in set(members) - ({"by"} if members.get("type") == "review_rejected" else {"evidence"}):
                kept = members.pop(name)
                fits("approval-message", message, f"{what} without {name}", fit=False)
                members[name] = kept


def check_codes():
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| ([0-9]+) \| (?:Refuse|Retry|Halt) \|", (HERE / "errors.md").read_text(), re.M)
    listed = {(code, int(status)) for codes, status in rows for code in re.findall(r"`(\w+)`", codes)}
    known = set()
    for case in SCHEMAS["problem"]["allOf"]:
        statuses = case["then"].get("properties", {}).get("status", {}).get("enum", [])
        known |= {(case["if"]["properties"]["code"]["const"], status) for status in statuses}
    expect(listed == known, f"errors.md and the schema of problems differ: {sorted(listed ^ known)}")


def check_examples():
    single = [strict((HERE / "examples" / name).read_bytes()) for name in ("event.json", "approval-needed.json")]
    lines = [strict(line) for line in (HERE / "examples/events.ndjson").read_bytes().splitlines()]
    sources = {}
    for event in [*single, *lines]:
        fits("event", event, event["id"])
        data = event.get("data", {})
        params = data.get("payload", {}).get("params")
        if "call" in data:
            agent, tool = data["agent"], data["tool"]
            found = call_digest("acme", data["payload"].get("nonce"), agent["id"], agent.get("run"), tool["name"], tool["action"], params)
            expect(found == data["call"]["digest"], f"{event['id']}: call digest {found}")
    for event in lines:
        if "sequence" in event:
            n, last = int(event["sequence"]), sources.get(event["source"], 0)
            heartbeat = "heartbeat" in event["type"]
            expect(n == last + (not heartbeat), f"{event['id']}: number {n} after {last}")
            sources[event["source"]] = n
    expect(len({(e["source"], e["id"]) for e in lines}) == len(lines), "two events with one key")
    return len(lines)


def check_decisions():
    """formats/decision.md: the question, the answer and the entry, by examples and the vector; formats/policy.md: the files."""
    read = lambda name: strict((HERE / "examples" / name).read_bytes())
    asked, told, batch, results = map(read, ("decision-question.json", "decision-answer.json", "decision-batch.json", "decision-batch-answer.json"))
    fits("decision-question", asked, "decision-question.json")
    fits("decision-question", batch, "decision-batch.json")
    fits("decision-answer", told, "decision-answer.json")
    fits("decision-answer", results, "decision-batch-answer.json")
    expect(len(batch) == len(results["results"]), "decision-batch-answer.json: not a result for each question")
    for name in ("id", "source", "agent", "tool", "params", "nonce"):
        fits("decision-question", {n: v for n, v in asked.items() if n != name}, f"a question without {name}", fit=False)
    for wrong in ({"amount": 1}, {"parent": {}}, {"agent": asked["agent"] | {"token": ""}}, {"tool": {"name": "Countersign", "action": "x"}}, {"payload": {"nonce": "x"}}, {"context": {"place": "x"}}, {"payload": {"owner": ["p-ana"] * 65}}):
        fits("decision-question", asked | wrong, f"a question with {wrong}", fit=False)
    fits("decision-question", [], "no question", fit=False)
    fits("decision-question", asked | {"context": None, "labels": None, "payload": {"owner": ["p-ana"] * 64}}, "a question with null")
    for wrong in ({"enforced": False}, {"enforced": None}, {"verdict": "deny"}, {"verdict": "approval_needed"}, {"mode": "shadow"}):
        fits("decision-answer", told | wrong, f"an answer with {wrong}", fit=False)

    log = load("vectors/entry/policy.json")
    entries = {entry["index"]: entry for message in log["messages"] for entry in message["entries"]}
    parsed = {index: strict(entry["entry"]) for index, entry in entries.items()}
    for question, answer in [(asked, told), *zip(batch, results["results"])]:
        agent, tool, digest = question["agent"], question["tool"], answer.get("call", {}).get("digest")
        found = call_digest(log["tenant"], question["nonce"], agent["id"], agent.get("run"), tool["name"], tool["action"], question["params"])
        if "problem" in answer:
            continue
        expect(found == digest, f"{question['id']}: call digest {found}")
        index = answer["decision"]["index"]
        expect(entries[index]["leaf_hash"] == answer["decision"]["leaf_hash"], f"{question['id']}: leaf hash")
        event, whole = parsed[index]["event"], strict(entries[index]["whole"])
        data = event["data"]
        expect({n: event[n] for n in ("id", "source")} == {n: question[n] for n in ("id", "source")}, f"{question['id']}: another entry")
        expect(all(whole["data"][n] == question[n] for n in ("agent", "tool", "context", "labels", "cost")), f"{question['id']}: another question")
        kept = (data["verdict"], data["reason"]["code"], data["policy"].get("id"), data["policy"]["version"], data["bundle"], data["call"]["digest"])
        said = (answer["verdict"], answer["reason"]["code"], answer["reason"].get("clause"), str(answer["policy"]["version"]), answer["policy"]["digest"], digest)
        expect(kept == said, f"{question['id']}: recorded {kept}, told {said}")
        expect(whole["data"]["reason"].get("clauses", []) == answer["reason"]["clauses"], f"{question['id']}: clauses")
        approval = answer.get("approval", {}).get("id")
        made = approval_id(log["tenant"], parsed[index]["producer"], event["source"], event["id"], ours=True)
        expect(approval in (None, made), f"{question['id']}: approval {made}")

    bundle = next(entry["event"] for entry in parsed.values() if entry["kind"] == "policy" and entry["event"].get("version") == 1)
    page = (HERE / "formats/policy.md").read_text()
    files = dict(re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", page, re.M | re.S))
    for part in bundle["parts"]:
        content = json.loads(entries[part["index"]]["disclosures"][0])[2]
        expect(files.get(part["path"]) == content, f"policy.md: {part['path']} is not that of entry/policy.json")
    expect(bundle_digest(bundle["parts"]) == bundle["digest"] and bundle["digest"] in page, "policy.md: digest of the bundle")
    check_key_spaces(log, parsed)


def check_key_spaces(log, parsed):
    """Our decisions have keys and approval ids of their own."""
    for case in load("vectors/call-digest.json")["approval_ids_of_ours"]:
        expect(case["approval_id"] == approval_id(case["tenant"], case["producer"], case["source"], case["id"], ours=True), f"approval id of {case['id']}")
    keys = [(e["producer"], e["event"]["source"], e["event"]["id"], "as_of" in e["event"].get("data", {})) for e in parsed.values() if e["kind"] in ("decision", "event")]
    expect(len(set(keys)) == len(keys) > len({key[:3] for key in keys}), "policy.json: no event of a producer with the key of a decision of ours")
    opened = {e["event"]["approval_id"] for e in parsed.values() if e["kind"] == "approval"}
    paused = [e for e in parsed.values() if e["kind"] == "decision" and e["event"]["data"]["verdict"] == "approval_needed"]
    follow = {approval_id(log["tenant"], e["producer"], e["event"]["source"], e["event"]["id"], ours=True) for e in paused}
    expect(opened == follow, f"policy.json: approvals {sorted(opened ^ follow)}")


def check_agent_tokens():
    """Each token says what its entry says, signed by the key of the `key` entry before it."""
    vector, log = load("vectors/agent-token.json"), load("vectors/entry/agent.json")
    entries = [entry for message in log["messages"] for entry in message["entries"]]
    parsed = {entry["index"]: strict(entry["entry"]) for entry in entries}
    key = next(e["event"] for e in parsed.values() if e["kind"] == "key")
    expect(key["use"] == "agent" and key["vkey"] == vector["vkey"], "agent.json: no key entry for the tokens")
    public = base64.b64decode(vector["vkey"].split("+", 2)[2])[1:]
    kid = vector["jwks"]["keys"][0]["kid"]
    for case in vector["cases"]:
        name, issued = f"agent token {case['name']}", parsed[case["index"]]["event"]
        head, payload, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in case["token"].split("."))
        expect(head == b'{"alg":"EdDSA","kid":"%s","typ":"agent+jwt"}' % kid.encode(), f"{name}: header")
        expect(verify_strict(public, case["token"].rpartition(".")[0].encode(), signature), f"{name}: signature")
        claims, chain, act = strict(payload), [], case["claims"].get("act")
        while act:
            chain, act = [act["sub"], *chain], act.get("act")
        expect(claims == case["claims"] and jcs(claims) == payload, f"{name}: claims")
        expect([claims["sub"], *chain] == issued["chain"] and claims["scope"].split(" ") == issued["scope"], f"{name}: chain and scope")
        for member in ("iat", "exp", "region", "org", "cnf"):
            expect(claims.get(member) == issued.get(member), f"{name}: {member}")
        expect(claims["jti"] == f"1-{case['index']}" and claims["nbf"] == claims["iat"], f"{name}: jti, nbf")


if __name__ == "__main__":
    known = check_vectors()
    check_agent_tokens()
    pages, blocks = check_pages(known)
    check_index()
    check_approvals()
    check_codes()
    events = check_examples()
    check_decisions()
    for failure in failures:
        print(failure)
    print(f"{pages} pages with {blocks} checked examples, {len(known['entry'])} entries, {events} events: {len(failures)} failures")
    sys.exit(bool(failures))
