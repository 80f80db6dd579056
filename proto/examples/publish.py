#!/usr/bin/env python3
"""Publishes one event and prints its receipt. Standard library only.

    publish.py --url https://log.example/v1/tenants/acme --key-file gw-1.key event.json > event.tlog-proof

The key file holds one API key (`cs_...`) with the role publisher. Repeating is safe: the same event under the same
`(producer, source, id)` is one entry for ever, so this repeats whenever it is unclear whether the event was posted.
Exit: 0 posted (or posted before), 1 refused, 2 usage, 69 the server stayed unavailable.
"""
import argparse, http.client, json, pathlib, random, sys, time, urllib.error, urllib.request

TRIES_MAX = 8
WAIT_SECONDS_MAX = 30.0
ANSWER_SECONDS_MAX = 60.0
AGAIN = (0, 429, 502, 503, 504)  # 0: no answer came


def post(url, key, body):
    """Status, headers and JSON of the answer; status 0 if none came."""
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/cloudevents+json"}
    request = urllib.request.Request(url + "/events?receipts=full", data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            try:
                return error.code, error.headers, dict(json.load(error))
            except (ValueError, TypeError):
                return error.code, error.headers, {"detail": error.reason}
    except (OSError, ValueError, http.client.HTTPException) as error:
        return 0, {}, {"detail": str(error)}


def publish(url, key, body):
    """The result of the event, or the problem, after repeating what may be repeated."""
    for attempt in range(TRIES_MAX):
        status, headers, answer = post(url, key, body)
        if status == 200:
            return status, answer["results"][0]
        # No answer, or one that may be other next time (also of a proxy): nothing was posted, or it is unknown. The same
        # event is posted once, however often it is sent.
        if status not in AGAIN or answer.get("code") == "log_halted":
            return status, answer
        pause = min(WAIT_SECONDS_MAX, 0.2 * 2**attempt) * random.uniform(0.5, 1.0)
        wished = headers.get("Retry-After", "")
        if wished.isdigit():
            pause = max(pause, min(WAIT_SECONDS_MAX, float(wished)))
        print(f"no success yet ({answer.get('code', status)}); again in {pause:.1f} s", file=sys.stderr)
        if attempt + 1 < TRIES_MAX:
            time.sleep(pause)
    return status, answer


def main():
    parser = argparse.ArgumentParser(description="Publish one event and print its receipt.")
    parser.add_argument("--url", required=True, help="https://<host>/v1/tenants/<tenant>")
    parser.add_argument("--key-file", required=True, type=pathlib.Path, help="file with the API key")
    parser.add_argument("event", type=pathlib.Path, help="file with one event, as formats/event.md says")
    options = parser.parse_args()
    try:
        key, body = options.key_file.read_text().strip(), options.event.read_bytes()
    except OSError as error:
        parser.error(str(error))
    status, result = publish(options.url.rstrip("/"), key, body)
    if status == 200 and result["status"] in ("posted", "duplicate"):
        print(f"{result['status']} at index {result['index']}", file=sys.stderr)
        sys.stdout.write(result["receipt"])
        return 0
    print(json.dumps(result, indent=1), file=sys.stderr)
    return 69 if status in AGAIN else 1


if __name__ == "__main__":
    sys.exit(main())
