#!/usr/bin/env python3
"""A guard around a function: it runs only when Countersign permits the call. Python 3.10 or newer, standard library only.

`@guarded(client, tool=…, action=…)` asks for the verdict, waits for people if they must approve, runs the function with the
params that were judged, and reports the outcome. Any doubt raises `NotPermitted`: then the function did not run (P9).
The key has the roles enforcer and publisher. An agent that can run code in this process can call the function without its
guard: for such an agent, use a gateway in another process (gateway.py). An example is at the end.
"""
import contextvars, functools, http.client, inspect, json, logging, os, pathlib, secrets, sys, time, urllib.error, urllib.request, uuid

obligations = contextvars.ContextVar("obligations", default={})  # what the running function must keep to: {"retain_days": 30}
# The key and the call go to the client's `url` and nowhere else.
no_redirects = type("NoRedirects", (urllib.request.HTTPRedirectHandler,), {"redirect_request": lambda *_: None})


class NotPermitted(Exception):
    """The function did not run. `code` is that of the verdict's reason, of the server's problem, or one of this file."""
    def __init__(self, code, detail=""):
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code


class Client:
    """`acknowledges`: names of the obligations that the functions keep. `as_before(tool, action, params)`: decides while the
    policies only observe this agent, for they permit nothing then. `answer_within`, `people_within`: seconds."""

    def __init__(self, url, key, *, agent, run=None, acknowledges=(), as_before=None, answer_within=30, people_within=600):
        self.url, self.key, self.agent, self.run, self.source = url.rstrip("/"), key, agent, run, "/tools/example"
        self.acknowledges, self.as_before = set(acknowledges), as_before or (lambda tool, action, params: False)
        self.answer_within, self.people_within = answer_within, people_within
        self.open = urllib.request.build_opener(no_redirects).open

    def ask(self, method, path, body=None, poll=0):
        """When the request was sent, and its answer. 429, 5xx and silence are repeated unchanged: every step is safe to repeat."""
        headers = {"Authorization": "Bearer " + self.key, "Content-Type": "application/json"}
        data, deadline = None if body is None else json.dumps(body).encode(), time.monotonic() + self.answer_within
        while True:
            request, pause, sent = urllib.request.Request(self.url + path, data, headers, method=method), 1, time.monotonic()
            try:
                with self.open(request, timeout=max(0.1, deadline - sent) + poll) as answer:
                    return sent, json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429:
                    problem = json.load(error)
                    raise NotPermitted(problem["code"], problem.get("detail", "")) from None
                pause = int(error.headers.get("Retry-After", 1))
            except (OSError, ValueError, http.client.HTTPException):
                pass
            if time.monotonic() + pause > deadline:
                raise NotPermitted("unavailable", f"no answer to {method} {path}")
            time.sleep(pause)

    def permit(self, tool, action, params, tries=3):
        """The params to run with, the obligations, and how to report. Else NotPermitted."""
        # (source, id) names the question: a repetition gets the verdict that was recorded first.
        question = {"id": str(uuid.uuid4()), "source": self.source, "nonce": secrets.token_urlsafe(16), "params": params,
                    "agent": {"id": self.agent} | ({"run": self.run} if self.run else {}), "tool": {"name": tool, "action": action}}
        try:
            sent, told = self.ask("POST", "/decisions", question)
        except NotPermitted as refused:
            if refused.code != "decision_stale" or tries == 1:
                raise
            # Its answers were lost for so long that the verdict counts no longer. Nothing ran, so ask anew.
            return self.permit(tool, action, params, tries - 1)
        verdict, owed, approval = told["verdict"], told.get("obligations", {}), told.get("approval", {})

        def report(outcome):
            # What was told before it was in the log is there by now: the same question shows where.
            found = self.ask("POST", "/decisions", question)[1] if told.get("recorded") is False else told
            self.report({name: found["decision"][name] for name in ("index", "leaf_hash")}, outcome)

        if told["enforced"] is None:  # the policies only observe: decide as before
            if self.as_before(tool, action, params) is not True:
                raise NotPermitted("only_observed", f"the verdict {verdict} permits nothing, and as_before did not return True")
            return params, {}, report
        if told["enforced"] is not True or verdict not in ("allow", "approval_needed"):
            raise NotPermitted(told["reason"]["code"], told["reason"].get("message", ""))
        if unknown := sorted(set(owed) - self.acknowledges):
            if approval.get("state") == "pending":
                self.ask("POST", f"/approvals/{approval['id']}/cancel", {"reason": "obligation_unknown"})
            raise NotPermitted("obligation_unknown", ", ".join(unknown))
        if verdict == "allow":
            if time.monotonic() >= sent + told["valid_for"]:  # seconds after the answer, which is not before the request
                raise NotPermitted("too_late", "the allow counts no longer")
            return params, owed, report
        path, call = f"/approvals/{approval['id']}", {"agent": self.agent, "run": self.run, "tool": tool, "action": action}
        frozen = self.redeem(path, approval, call | {"params": params, "nonce": question["nonce"]})
        return frozen["params"], owed, lambda outcome: self.ask("POST", path + "/execution", {"outcome": outcome})

    def redeem(self, path, found, call):
        """Waits until people approved the call, and gets it released, once."""
        deadline = time.monotonic() + self.people_within
        while found["state"] == "pending" and (left := deadline - time.monotonic()) > 0:
            seconds = max(1, min(30, int(left)))
            found = self.ask("GET", f"{path}?wait={seconds}&after={found.get('version', 0)}", poll=seconds)[1]
        if found["state"] == "pending":
            self.ask("POST", path + "/cancel", {"reason": "gave_up"})
            raise NotPermitted("gave_up", "nobody answered in time")
        if found["state"] not in ("granted", "minted"):
            raise NotPermitted(found["state"], found.get("detail", "people did not approve it"))
        token = self.ask("POST", path + "/token")[1]["token"]
        return self.ask("POST", "/tokens/redeem", {"redemption_id": str(uuid.uuid4()), "call": call, "token": token})[1]["call"]

    def report(self, decision, outcome):
        """Publishes the execution of a call about which nobody was asked."""
        event = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": self.source, "type": "dev.countersign.execution.v1",
                 "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "data": {"decision": decision, "outcome": outcome}}
        if (result := self.ask("POST", "/events", event)[1]["results"][0])["status"] not in ("posted", "duplicate"):
            raise ValueError(result)


def guarded(client, *, tool, action):
    def decorate(function):
        signature = inspect.signature(function)
        named = all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in signature.parameters.values())
        if inspect.iscoroutinefunction(function) or not named:
            raise TypeError("a guarded function is not async, and each of its parameters has a name")

        @functools.wraps(function)
        def asking(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()  # they are judged too
            try:  # with a copy of the params, which nobody else can change
                params, owed, report = client.permit(tool, action, json.loads(json.dumps(bound.arguments, allow_nan=False)))
            except NotPermitted:
                raise
            except Exception as error:
                raise NotPermitted("not_understood", repr(error)) from error
            reset, outcome = obligations.set(owed), "unknown"
            try:
                result = function(**params)
                outcome = "succeeded"
                return result
            except Exception:
                outcome = "failed"
                raise
            finally:
                obligations.reset(reset)
                try:
                    report(outcome)
                except Exception as error:  # the function ran, and that does not change
                    logging.warning("%s %s: %s, but the report was not taken: %s", tool, action, outcome, error)

        return asking
    return decorate


if __name__ == "__main__":
    api_key = pathlib.Path(os.environ["COUNTERSIGN_KEY_FILE"]).read_text().strip()
    countersign = Client(os.environ["COUNTERSIGN_URL"], api_key, agent="payments-bot")  # https://<host>/v1/tenants/<tenant>
    @guarded(countersign, tool="payments", action="transfer")
    def transfer(amount, currency, reference):
        return f"paid {amount} {currency} for {reference}"

    print(transfer(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
