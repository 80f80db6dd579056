#!/usr/bin/env python3
"""A gateway that asks people before it executes a call. Standard library only.

    gateway.py --url https://log.example/v1/tenants/acme --producer gw-1 --key-file gw-1.key call.json

`call.json`: {"agent", "run" (or null), "tool", "action", "params"}. The key has the roles publisher and enforcer. Open, wait,
mint, redeem, execute what the server returned, report. No answer in time, or any doubt, means: not approved (P9).
Exit: 0 executed, 1 not approved or refused, 2 usage, 3 redeemed and failed, 69 the server stayed unavailable: not executed.
"""
import argparse, base64, hashlib, http.client, json, pathlib, secrets, sys, time, urllib.error, urllib.parse, urllib.request, uuid
from datetime import datetime, timezone

RETRY_SECONDS_MAX, POLL_SECONDS, MINTS_MAX = 30, 30, 3
SOURCE = "/gateways/example"
# RFC 8785 for what this gateway sends: text, integers, names without characters beyond U+FFFF.
jcs = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
b64url = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
say = lambda text: print(text, file=sys.stderr)


class Refused(Exception):
    """The server's problem (RFC 9457); `unavailable` if it gave no answer in time."""


def problem(error):
    try:
        return json.load(error)
    except (OSError, ValueError):
        return {"code": f"http_{error.code}"}


def ask(options, method, path, body=None):
    """The JSON answer. 429, 5xx and silence are repeated, byte for byte, for up to 30 s: every step here is safe to repeat."""
    headers = {"Authorization": "Bearer " + options.key, "Content-Type": "application/json"}
    deadline = time.monotonic() + RETRY_SECONDS_MAX
    while True:
        request = urllib.request.Request(options.url + path, None if body is None else jcs(body), headers, method=method)
        pause = "1"
        try:
            with urllib.request.urlopen(request, timeout=POLL_SECONDS + 15) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise Refused(problem(error)) from None
            pause = error.headers.get("Retry-After", "1")
        except (OSError, ValueError, http.client.HTTPException):
            pass
        pause = int(pause) if pause.isdigit() else 1
        if time.monotonic() + pause > deadline:
            raise Refused({"code": "unavailable", "detail": f"no answer to {method} {path}"})
        time.sleep(pause)


def opening(options, call, nonce):
    """The decision event that pauses the call, and the id of the approval that it opens: both sides compute it."""
    digest = b64url(hashlib.sha256(b"countersign-call-v1\0" + jcs({"v": 1, "nonce": nonce, "tenant": options.tenant, **call})).digest())
    data = {
        "agent": {"id": call["agent"]} | ({"run": call["run"]} if call["run"] else {}), "tool": {"name": call["tool"], "action": call["action"]},
        "verdict": "approval_needed", "call": {"digest": digest}, "payload": {"params": call["params"], "nonce": nonce},
    }
    now, id = datetime.now(timezone.utc).isoformat(), str(uuid.uuid4())
    hashed = base64.b32encode(hashlib.sha256(jcs([options.tenant, options.producer, SOURCE, id])).digest()).decode().lower()
    return {"specversion": "1.0", "id": id, "source": SOURCE, "type": "dev.countersign.decision.v1", "time": now, "data": data}, "apr-" + hashed[:26]


def wait(options, approval):
    """How it stands once it is not pending, or when our own patience ends."""
    found, deadline = ask(options, "GET", approval), time.monotonic() + options.wait
    while found["state"] == "pending" and time.monotonic() < deadline:
        seconds = max(1, min(POLL_SECONDS, int(deadline - time.monotonic())))
        found = ask(options, "GET", f"{approval}?wait={seconds}&after={found['version']}")
    return found["state"]


def redeem(options, approval, call, nonce):
    """The frozen call, released once. The redemption id is the same in every try."""
    spend = {"redemption_id": str(uuid.uuid4()), "call": {"nonce": nonce, **call}}
    for _ in range(MINTS_MAX):
        token = ask(options, "POST", approval + "/token")["token"]
        try:
            return ask(options, "POST", "/tokens/redeem", spend | {"token": token})["call"]
        except Refused as refused:
            if refused.args[0].get("code") != "token_expired":
                raise
            say("the token expired unused; another one")
            time.sleep(1)
    raise Refused({"code": "token_expired", "detail": "again and again"})


def through(options, call):
    """Executes the call if people say yes; the exit status."""
    nonce = b64url(secrets.token_bytes(16))
    event, id = opening(options, call, nonce)
    ask(options, "POST", "/approvals", event)
    say(f"asked: {id}")
    approval = f"/approvals/{id}"
    state = wait(options, approval)
    if state == "pending":
        ask(options, "POST", approval + "/cancel", {"reason": "gave_up"})
        state = "cancelled (gave_up), for nobody answered in time"
    if state not in ("granted", "minted"):
        say(f"not approved: {state}")
        return 1
    frozen = redeem(options, approval, call, nonce)
    try:
        execute(frozen)
        outcome = "succeeded"
    except Exception as error:  # whatever it was: it is reported
        say(f"execution failed: {error!r}")
        outcome = "failed"
    try:
        ask(options, "POST", approval + "/execution", {"outcome": outcome})
    except Refused as refused:
        say(f"{outcome}, but the report was not taken: {refused}")
    return 0 if outcome == "succeeded" else 3


def execute(frozen):
    """Here a real gateway calls the tool, with what people saw and nothing else."""
    print(json.dumps({name: frozen[name] for name in ("tool", "action", "params")}, ensure_ascii=False))


def main():
    parser = argparse.ArgumentParser(description="Execute one call, if people approve it.")
    parser.add_argument("--url", required=True, help="https://<host>/v1/tenants/<tenant>")
    parser.add_argument("--producer", required=True, help="the producer that the key names")
    parser.add_argument("--key-file", required=True, type=pathlib.Path, help="file with the API key")
    parser.add_argument("--wait", type=float, default=600, help="seconds until we give up")
    parser.add_argument("call", type=pathlib.Path, help="file with the call")
    options = parser.parse_args()
    options.url, options.key = options.url.rstrip("/"), options.key_file.read_text().strip()
    options.tenant = urllib.parse.urlsplit(options.url).path.rpartition("/")[2]
    try:
        return through(options, json.loads(options.call.read_text()))
    except Refused as refused:
        say(f"refused: {refused}")
        return 69 if refused.args[0].get("code") == "unavailable" else 1


if __name__ == "__main__":
    sys.exit(main())
