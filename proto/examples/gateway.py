#!/usr/bin/env python3
"""A gateway that asks people before it executes a call. Standard library only.

    gateway.py --url https://log.example/v1/tenants/acme --key-file gw-1.key --wait 600 call.json

`call.json`: {"agent", "run" (or null), "tool", "action", "params"}. The key has the roles publisher and enforcer. Open, wait,
mint, redeem, execute what the server returned, report. No answer in time, or any doubt, means: not approved (P9).
Exit: 0 executed, 1 not approved or refused, 2 usage, 3 redeemed, but the execution failed, 69 the server stayed unavailable.
"""
import argparse, base64, hashlib, json, pathlib, secrets, sys, time, urllib.error, urllib.parse, urllib.request, uuid
from datetime import datetime, timezone

RETRY_SECONDS_MAX = 30.0
POLL_SECONDS = 30
SOURCE = "/gateways/example"
# RFC 8785 for what this gateway sends: text, integers and plain names.
jcs = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
b64url = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Refused(Exception):
    """The server said no: a problem (RFC 9457), or None if it stayed unavailable."""


def ask(options, method, path, body=None):
    """The JSON answer. 503 and silence are repeated as they are for up to 30 s: every step here is safe to repeat."""
    headers = {"Authorization": "Bearer " + options.key, "Content-Type": "application/json"}
    deadline = time.monotonic() + RETRY_SECONDS_MAX
    while True:
        request = urllib.request.Request(options.url + path, jcs(body) if body is not None else None, headers, method=method)
        wish = "1"
        try:
            with urllib.request.urlopen(request, timeout=POLL_SECONDS + 15) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise Refused(json.loads(error.read() or b"{}")) from None
            wish = error.headers.get("Retry-After", wish)
        except (OSError, ValueError):
            pass
        if time.monotonic() + float(wish) > deadline:
            raise Refused(None)
        time.sleep(float(wish))


def opening(tenant, producer, call, nonce):
    """The decision event that pauses the call, and the id of the approval it opens: the same on both sides."""
    frozen = {"v": 1, "nonce": nonce, "tenant": tenant, **call}
    digest = b64url(hashlib.sha256(b"countersign-call-v1\0" + jcs(frozen)).digest())
    data = {
        "agent": {"id": call["agent"]} | ({"run": call["run"]} if call["run"] else {}), "tool": {"name": call["tool"], "action": call["action"]},
        "verdict": "approval_needed", "call": {"digest": digest}, "payload": {"params": call["params"], "nonce": nonce},
    }
    event = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": SOURCE, "type": "dev.countersign.decision.v1", "time": datetime.now(timezone.utc).isoformat(), "data": data}
    hashed = base64.b32encode(hashlib.sha256(jcs([tenant, producer, SOURCE, event["id"]])).digest()).decode().lower()
    return event, "apr-" + hashed[:26]


def wait(options, approval):
    """The approval once it is not pending, or when our own patience ends."""
    state, deadline = ask(options, "GET", approval), time.monotonic() + options.wait
    while state["phase"] == "pending" and time.monotonic() < deadline:
        seconds = max(1, min(POLL_SECONDS, int(deadline - time.monotonic())))
        state = ask(options, "GET", f"{approval}?wait={seconds}&after={state['version']}")
    return state


def through(options, call):
    """Does the call if people say yes; the exit status."""
    nonce = b64url(secrets.token_bytes(16))
    event, approval_id = opening(options.tenant, options.producer, call, nonce)
    ask(options, "POST", "/approvals", event)
    approval = f"/approvals/{approval_id}"
    print(f"pending: {approval_id}", file=sys.stderr)
    state = wait(options, approval)
    if state["phase"] not in ("granted", "minted"):
        print(f"not approved: {state['phase']}", file=sys.stderr)
        if state["phase"] == "pending":
            ask(options, "POST", approval + "/cancel", {"reason": "gave_up"})
        return 1
    token = ask(options, "POST", approval + "/token")["token"]
    spend = {"token": token, "redemption_id": str(uuid.uuid4()), "call": {"nonce": nonce, **call}}
    frozen = json.loads(ask(options, "POST", "/tokens/redeem", spend)["call"])
    try:
        outcome = execute(frozen)
    except Exception as error:  # whatever went wrong: somebody must look
        print(f"execution failed: {error}", file=sys.stderr)
        outcome = "failed"
    ask(options, "POST", approval + "/execution", {"outcome": outcome})
    return 0 if outcome == "succeeded" else 3


def execute(frozen):
    """Where a real gateway calls the tool, with what people saw: the frozen call, and nothing else."""
    print(json.dumps({name: frozen[name] for name in ("tool", "action", "params")}))
    return "succeeded"


def main():
    parser = argparse.ArgumentParser(description="Execute one call, if people approve it.")
    parser.add_argument("--url", required=True, help="https://<host>/v1/tenants/<tenant>")
    parser.add_argument("--producer", required=True, help="the producer of the key")
    parser.add_argument("--key-file", required=True, type=pathlib.Path, help="file with the API key")
    parser.add_argument("--wait", type=float, default=600, help="seconds until we give up")
    parser.add_argument("call", type=pathlib.Path, help="file with the call")
    options = parser.parse_args()
    options.url, options.key = options.url.rstrip("/"), options.key_file.read_text().strip()
    options.tenant = urllib.parse.urlsplit(options.url).path.rsplit("/", 1)[1]
    try:
        return through(options, json.loads(options.call.read_text()))
    except Refused as refused:
        (problem,) = refused.args
        print(f"refused: {problem.get('code')}: {problem.get('detail')}" if problem else "the server stayed unavailable", file=sys.stderr)
        return 1 if problem else 69


if __name__ == "__main__":
    sys.exit(main())
