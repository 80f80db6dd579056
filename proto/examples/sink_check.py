"""What of a log is missing, doubled or changed in what a sink delivered.

    cat *.ndjson | python sink_check.py

Reads lines of the format `native`, in any order, from any number of files: what a collector, a file agent or a search has
kept. Needs no key, no server and nothing but Python. Exit status 0: whole. 1: not. 3: a line can't be read.
"""

import base64
import collections
import hashlib
import json
import sys

batches, records = [], collections.defaultdict(list)
for number, line in enumerate(sys.stdin, 1):
    try:
        said = json.loads(line)
        if "batch" in said:
            batches.append(said["batch"])
        elif "index" in said:
            # The entry's bytes as they came: from the first `,"entry":` on, one JSON value.
            begin = line.index(',"entry":') + len(',"entry":')
            _, end = json.JSONDecoder().raw_decode(line, begin)
            leaf = hashlib.sha256(b"\0" + line[begin:end].encode()).digest()
            records[said["origin"], said["index"]].append((base64.b64decode(said["leaf_hash"]), leaf))
    except (ValueError, KeyError) as error:
        print(f"line {number} can't be read: {error}")
        sys.exit(3)

wrong = 0


def find(text: str) -> None:
    """Says what is wrong."""
    global wrong
    wrong += 1
    print(text)


for (origin, index), found in sorted(records.items()):
    if len({leaf for _, leaf in found}) > 1 or any(said != leaf for said, leaf in found):
        find(f"changed: entry {index} of {origin} is not what its leaf hash says")
    if len(found) > 1:
        print(f"doubled: entry {index} of {origin} came {len(found)} times: keep one")

by_origin = collections.defaultdict(list)
for batch in batches:
    by_origin[batch["origin"], batch["sink"]].append(batch)
for (origin, sink), all_of_it in sorted(by_origin.items()):
    reached = None
    for batch in sorted(all_of_it, key=lambda batch: (batch["from"], batch["to"])):
        begin, end = batch["from"], batch["to"]
        if reached is not None and begin > reached:
            find(f"missing: nothing says what was in {reached} to {begin - 1} of {origin} by {sink}")
        reached = max(reached or 0, end)
        here = [index for index in range(begin, end) if (origin, index) in records]
        digest = hashlib.sha256(b"".join(records[origin, index][0][0] for index in here)).digest()
        if len(here) != batch["count"]:
            find(f"missing: {batch['count'] - len(here)} of {batch['count']} records in {begin} to {end - 1} of {origin} by {sink}")
        elif base64.b64encode(digest).decode() != batch["digest"]:
            find(f"changed: {begin} to {end - 1} of {origin} by {sink} are not the records that were sent")
    print(f"{origin} by {sink}: {len(all_of_it)} batches up to {reached}")
known = {origin for origin, _ in by_origin}
for origin in sorted({origin for origin, _ in records} - known):
    find(f"missing: no batch of {origin} came, so nothing says what it should have")
print("whole" if not wrong else f"{wrong} findings")
sys.exit(1 if wrong else 0)
