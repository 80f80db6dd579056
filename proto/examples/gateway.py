#!/usr/bin/env python3
"""A gateway that asks before it executes a call. Standard library only.

    gateway.py --url https://log.example/v1/tenants/acme --producer gw-1 --key-file gw-1.key call.json
    gateway.py --url … --producer gw-1 --key-file gw-1.key --decide --acknowledge retain_days call.json

`call.json`: {"agent", "run" (or null), "tool", "action", "params"}. The key has the roles publisher and enforcer.

Without --decide, this gateway judges the call itself: `approval_needed`, always. It opens an approval, waits, gets a token,
redeems it, executes what the server returned, and reports. With --decide, it asks Countersign for the verdict: an allowed call
is executed and reported, a denied one is not, and for one that needs approval it waits for people as above.
No answer in time, or any doubt, means: not permitted (P9).
Exit: 0 executed, 1 denied, not approved or refused, 2 usage, 3 permitted and failed, 69 the server stayed unavailable: not executed.
"""
import argparse, base64, hashlib, http.client, json, pathlib, secrets, sys, time, urllib.error, urllib.parse, urllib.request, uuid
from datetime import datetime, timezone

POLL_SECONDS, MINTS_MAX = 30, 3
SOURCE, MEMBERS = "/gateways/example", {"agent", "run", "tool", "action", "params"}
# RFC 8785 for what this gateway sends: text, integers, names without characters beyond U+FFFF.
jcs = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
b64url = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
say = lambda text: print(text, file=sys.stderr)


class Refused(Exception):
    """The server's problem (RFC 9457); `unavailable` if it gave no answer in time."""

    code = property(lambda self: self.args[0].get("code"))


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key and the call go to --url and nowhere else. A redirect is refused, like every answer that is not understood."""

    redirect_request = lambda *_: None


open_url = urllib.request.build_opener(NoRedirects).open


def problem(error):
    told = {"code": f"http_{error.code}"}
    try:
        return told | json.load(error)
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return told


def ask_when(options, method, path, body=None, poll=0):
    """When the request was sent, and the JSON answer. 429, 5xx and silence are repeated, byte for byte, until
    --answer-within is over: every step here is safe to repeat. `poll`: seconds for which the server may hold its answer."""
    headers = {"Authorization": "Bearer " + options.key, "Content-Type": "application/json"}
    deadline = time.monotonic() + options.answer_within
    while True:
        request = urllib.request.Request(options.url + path, None if body is None else jcs(body), headers, method=method)
        pause, sent = "1", time.monotonic()
        try:
            with open_url(request, timeout=max(1, deadline - sent) + poll) as answer:
                return sent, json.load(answer)
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


def ask(*request, **more):
    return ask_when(*request, **more)[1]


def digest_of(options, call, nonce):
    """The call digest (event.md): what is judged, what people approve, and what a token is for."""
    return b64url(hashlib.sha256(b"countersign-call-v1\0" + jcs({"v": 1, "nonce": nonce, "tenant": options.tenant, **call})).digest())


def who_and_what(call):
    return {
        "agent": {"id": call["agent"]} | ({"run": call["run"]} if call["run"] else {}),
        "tool": {"name": call["tool"], "action": call["action"]},
    }


def event(kind, data):
    now, id = datetime.now(timezone.utc).isoformat(), str(uuid.uuid4())
    return {"specversion": "1.0", "id": id, "source": SOURCE, "type": f"dev.countersign.{kind}.v1", "time": now, "data": data}


def decide(options, call):
    """Asks Countersign for the verdict and does what it says; the exit status."""
    deadline = time.monotonic() + options.answer_within
    while True:
        nonce = b64url(secrets.token_bytes(16))
        # (source, id) names the question. `ask_when` repeats it unchanged, and a repetition gets the recorded verdict.
        question = {"id": str(uuid.uuid4()), "source": SOURCE, "nonce": nonce, "params": call["params"], **who_and_what(call)}
        try:
            sent, told = ask_when(options, "POST", "/decisions", question)
            # Recorded, but people can't be asked yet. The same question again shows how the approval is now.
            while told.get("approval", {}).get("state") == "opening" and time.monotonic() < deadline:
                time.sleep(1)
                sent, told = ask_when(options, "POST", "/decisions", question)
            break
        except Refused as refused:
            # The verdict was recorded, its answers were lost, and it counts no longer. Nothing was executed, so ask anew.
            if refused.code != "decision_stale" or time.monotonic() > deadline:
                raise
            say("the verdict counts no longer; a new question")
    verdict, reason, approval = told["verdict"], told["reason"], told.get("approval", {})
    if told["enforced"] is None:
        # The policies only observe this agent: their verdict is recorded and permits nothing. We decide as before.
        say(f"only observed ({verdict}), so nothing is permitted by it; deciding as before")
        return judge(options, call)
    if told["enforced"] is not True or told["call"]["digest"] != digest_of(options, call, nonce):
        raise Refused({"code": "not_understood", "detail": "not an enforced verdict on this call"})
    if verdict not in ("allow", "approval_needed"):  # deny, or a verdict that we do not know
        say(f"{verdict}: {reason['code']} {reason.get('message', '')}".rstrip())
        return 1
    # Conditions on the use of what is permitted. We promise to keep those that --acknowledge names.
    unknown = sorted(set(told.get("obligations", {})) - set(options.acknowledge))
    if unknown:
        say(f"not executed: {verdict}, but with obligations that we do not know: {', '.join(unknown)}")
        if approval.get("state") == "pending":
            ask(options, "POST", f"/approvals/{approval['id']}/cancel", {"reason": "obligation_unknown"})
        return 1
    if verdict == "approval_needed":
        if approval["state"] in ("not_opened", "opening"):
            say(f"not approved: {approval['state']} {approval.get('reason', '')}".rstrip())
            return 1
        return people(options, call, nonce, approval["id"])
    # An allow counts for `valid_for` seconds after the answer; that is not before the request was sent.
    if time.monotonic() >= sent + told["valid_for"]:
        say("not executed: the allow counts no longer")
        return 1
    link = lambda answer: {name: answer["decision"][name] for name in ("index", "leaf_hash")}
    # `recorded: false`: it was told before it was in the log.
    known = None if told.get("recorded") is False else link(told)

    def report(outcome):
        # By now it is in the log, and the same question shows where.
        decision = known or link(ask_when(options, "POST", "/decisions", question)[1])
        result = ask(options, "POST", "/events", event("execution", {"decision": decision, "outcome": outcome}))["results"][0]
        if result["status"] not in ("posted", "duplicate"):
            raise Refused(result)

    return carry_out(call, report)


def judge(options, call):
    """This gateway's own verdict: people must approve. Publishes it, which pauses the call; the exit status."""
    nonce = b64url(secrets.token_bytes(16))
    call_digest, payload = {"digest": digest_of(options, call, nonce)}, {"params": call["params"], "nonce": nonce}
    decision = event("decision", who_and_what(call) | {"verdict": "approval_needed", "call": call_digest, "payload": payload})
    # Both sides compute the id of the approval that the decision opens.
    hashed = base64.b32encode(hashlib.sha256(jcs([options.tenant, options.producer, SOURCE, decision["id"]])).digest()).decode().lower()
    ask(options, "POST", "/approvals", decision)
    return people(options, call, nonce, "apr-" + hashed[:26])


def people(options, call, nonce, id):
    """Executes the call if people approve it; the exit status."""
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
    return carry_out(frozen, lambda outcome: ask(options, "POST", approval + "/execution", {"outcome": outcome}))


def wait(options, approval):
    """How it is once it is not pending, or when our own patience ends."""
    found, deadline, seen = ask(options, "GET", approval), time.monotonic() + options.wait, set()
    while found["state"] == "pending" and time.monotonic() < deadline:
        answer_questions(options, approval, found, seen)
        seconds = max(1, min(POLL_SECONDS, int(deadline - time.monotonic())))
        found = ask(options, "GET", f"{approval}?wait={seconds}&after={found['version']}", poll=seconds)
    for review in found.get("reviews", []):
        if review["decision"] == "deny":
            # Codes are for programs. The text is for the model: it is a person's words, and no instruction to us.
            say(f"{review['by']} denied: {review.get('reason', 'no reason')} {review.get('for_agent', '')}".rstrip())
    return found["state"]


def answer_questions(options, approval, found, seen):
    """A person who is asked may ask back. Deadlines do not move meanwhile. The answer is what --answer says; without it the
    question waits for an owner of the agent, who answers on the page."""
    for question in found.get("questions", []):
        if "answer" in question or question["question"] in seen:
            continue
        seen.add(question["question"])
        say(f"{question['by']} asks: {question.get('text', '(erased)')}")
        # A real gateway puts the question to its agent here, and sends what the agent says.
        if options.answer:
            try:
                ask(options, "POST", f"{approval}/questions/{question['question']}/answer", {"text": options.answer})
            except Refused as refused:  # somebody else was faster, or people decided meanwhile
                say(f"the answer was not taken: {refused.code}")


def redeem(options, approval, call, nonce):
    """The frozen call, released once. The redemption id is the same in every try."""
    spend = {"redemption_id": str(uuid.uuid4()), "call": {"nonce": nonce, **call}}
    for _ in range(MINTS_MAX):
        token = ask(options, "POST", approval + "/token")["token"]
        try:
            return ask(options, "POST", "/tokens/redeem", spend | {"token": token})["call"]
        except Refused as refused:
            if refused.code != "token_expired":
                raise
            say("the token expired unused; another one")
            time.sleep(1)
    raise Refused({"code": "token_expired", "detail": "again and again"})


def carry_out(call, report):
    """Executes a permitted call and reports the outcome; the exit status."""
    try:
        execute(call)
        outcome = "succeeded"
    except Exception as error:  # whatever it was: it is reported
        say(f"execution failed: {error!r}")
        outcome = "failed"
    try:
        report(outcome)
    except (Refused, LookupError, TypeError) as refused:
        say(f"{outcome}, but the report was not taken: {refused}")
    return 0 if outcome == "succeeded" else 3


def execute(call):
    """Here a real gateway calls the tool, with what was judged or what people saw, and nothing else."""
    print(json.dumps({name: call[name] for name in ("tool", "action", "params")}, ensure_ascii=False))


def main():
    parser = argparse.ArgumentParser(description="Execute one call, if policies or people permit it.")
    parser.add_argument("--url", required=True, help="https://<host>/v1/tenants/<tenant>")
    parser.add_argument("--producer", required=True, help="the producer that the key names")
    parser.add_argument("--key-file", required=True, type=pathlib.Path, help="file with the API key")
    parser.add_argument("--decide", action="store_true", help="ask Countersign for the verdict")
    parser.add_argument("--acknowledge", action="append", default=[], metavar="NAME", help="an obligation that we keep; may be repeated")
    parser.add_argument("--answer", metavar="TEXT", help="what the agent says to a question of a person who is asked")
    parser.add_argument("--wait", type=float, default=600, help="seconds for which we wait for people")
    parser.add_argument("--answer-within", type=float, default=30, help="seconds for which a request is repeated")
    parser.add_argument("call", type=pathlib.Path, help="file with the call")
    options = parser.parse_args()
    options.url, options.key = options.url.rstrip("/"), options.key_file.read_text().strip()
    options.tenant = urllib.parse.urlsplit(options.url).path.rpartition("/")[2]
    call = json.loads(options.call.read_text())
    if set(call) != MEMBERS:
        parser.error(f"the call has other members than {sorted(MEMBERS)}")
    try:
        return decide(options, call) if options.decide else judge(options, call)
    except Refused as refused:
        say(f"refused: {refused}")
        return 69 if refused.code == "unavailable" else 1
    except (LookupError, TypeError, AttributeError) as error:
        say(f"not executed: the answer is not understood: {error!r}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
