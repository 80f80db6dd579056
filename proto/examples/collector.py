"""A collector for a sink of kind `http`: checks the signature, and writes every line to standard output.

    python collector.py 8499 collector.secret > collected.ndjson

The signature is that of Standard Webhooks. Behind a proxy with TLS, on another machine; alone, on this one.
"""

import base64
import hashlib
import hmac
import http.server
import sys
import time

PORT, KEY = int(sys.argv[1]), base64.b64decode(open(sys.argv[2]).read().strip().removeprefix("whsec_"))


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes batches."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Keeps a batch, and only then says so."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        named, moment = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "0")
        ours = hmac.digest(KEY, f"{named}.{moment}.".encode() + body, hashlib.sha256)
        given = self.headers.get("webhook-signature", "")
        right = hmac.compare_digest(given, "v1," + base64.b64encode(ours).decode()) and abs(time.time() - int(moment)) < 300
        if right:
            sys.stdout.buffer.write(body)
            sys.stdout.buffer.flush()
        self.send_response(204 if right else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Collector).serve_forever()
