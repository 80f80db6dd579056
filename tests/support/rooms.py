"""What is so in the house today: the lists that `test_house.py` holds the sources to.

Each may only get shorter: a new place fails, and a place that is gone must leave its list.
"""

from __future__ import annotations

#: Crate → crates of ours that it depends on.
TOWER = {
    "ledger": set(),
    "decider": {"ledger"},
    "approvals": {"decider", "ledger"},
    "api": {"approvals", "decider", "ledger"},
}

#: What any module may name: it is no foreign system, and nothing to decide.
ANYWHERE = {"chrono", "data_encoding", "serde", "serde_json", "sha2", "thiserror", "tracing", "zeroize"}
#: Any other foreign crate → the rooms that alone name it. A room is a module with its parts.
ALONE = {
    "aho_corasick": {"decider/policy/detect/scan"},
    "askama": {"api/evidence/report", "api/pages"},
    "async_nats": {"ledger/journal/jetstream"},
    "axum": {
        "api/auth", "api/body", "api/config/check", "api/metrics", "api/pages", "api/problem", "api/query", "api/routes", "api/serve",
    },
    "chrono_tz": {"decider/policy"},
    "clap": {"api/cli", "api/main"},
    "csv": {"api/evidence/table"},
    "ed25519_dalek": {"ledger/log/note"},
    "flate2": {"api/body/coding", "api/opa_bundle"},
    "futures_util": {"approvals/chats", "approvals/deciding", "approvals/log", "approvals/worker", "ledger/journal/jetstream"},
    "getrandom": {"ledger/atomic", "ledger/keyring"},
    "hmac": {"api/pages/session", "api/passkeys", "api/sessions/nonces", "api/routes/jwks", "api/sinks/http", "approvals/setup/applied", "ledger/disclosure", "ledger/seal"},
    "http_body_util": {"api/body", "api/serve/drain", "api/sinks/grpc"},
    "hyper": {"api/body/sent", "api/serve", "api/sinks/grpc"},
    "hyper_util": {"api/serve", "api/sinks/grpc"},
    "indicatif": {"api/commands"},
    "iso_currency": {"approvals/display", "approvals/setup/displays", "approvals/setup/rules"},
    "jsonwebtoken": {"approvals/teams/jwt"},
    "mimalloc": {"api/main"},
    "nkeys": {"ledger/journal/jetstream/options"},
    "p256": {"api/opa_bundle", "decider/passkey"},
    "openidconnect": {"api/oidc"},
    "prometheus_client": {"api/metrics"},
    "regex": {"decider/policy"},
    "regex_syntax": {"decider/policy"},
    "rocksdb": {"ledger/store/rocks"},
    "rsa": {"decider/passkey"},
    "rust_iso3166": {"approvals/display"},
    "rs_merkle": {"ledger/log/merkle"},
    "rusty_s3": {"api/s3"},
    "rustix": {"api/client/whom", "api/commands", "api/limits", "api/metrics", "api/sinks/quiet", "ledger/atomic", "ledger/clock"},
    "ryu_js": {"ledger/canonical", "ledger/json"},
    "serde_urlencoded": {"api/query", "api/routes/entries", "approvals/slack/inbound", "approvals/teams/client"},
    "saphyr_parser": {"decider/policy"},
    "slack_morphism": {"approvals/slack/client", "approvals/slack/signature"},
    "socket2": {"api/serve"},
    "subtle": {"api/auth", "api/pages/session"},
    "tokio": {
        "api", "approvals/outbox", "approvals/slack/client", "approvals/teams", "approvals/commands", "approvals/deciding", "approvals/log", "approvals/search", "approvals/worker", "ledger/chores", "ledger/expiry", "ledger/follow",
        "ledger/fsck/stream", "ledger/pruning", "ledger/replica", "ledger/journal/embedded/adapter", "ledger/journal/jetstream", "ledger/journal/port", "ledger/ledger",
        "ledger/spool", "ledger/tenant", "ledger/writer",
    },
    "tokio_rustls": {"api/certificates", "api/sinks/grpc", "api/sinks/syslog", "api/sinks/trust", "api/tls"},
    "toml": {"api/commands", "api/config", "approvals/setup"},
    "tracing_subscriber": {"api/config/check", "api/log"},
    "unicode_normalization": {"decider/policy", "ledger/foreign"},
    "unicode_security": {"ledger/foreign"},
    "ureq": {"api/client", "api/s3", "api/sinks/net", "api/replicas/monitor", "api/commands/bench/jetstream", "approvals/teams"},
    "url": {"api/oidc", "api/s3", "api/sinks", "approvals/display/address", "approvals/slack/client", "approvals/teams"},
    "utoipa": {"api"},
    "webpki_roots": {"api/sinks/trust"},
    "zip": {"approvals/teams/package"},
}  # fmt: skip

#: Dependencies that no module names → why they are there.
UNNAMED = {("ledger", "num_traits"): "its features are then those that the tests' packages switch on (Cargo.toml of the workspace)"}

#: Files that lead to each other in a circle. (A part that uses what its own room defines is none.)
CIRCLES: list[set[str]] = [
    # An event's size limit is the journal's.
    {
        "ledger/event", "ledger/journal", "ledger/journal/jetstream", "ledger/journal/jetstream/connection",
        "ledger/journal/jetstream/settings", "ledger/journal/jetstream/wire",
    },
]  # fmt: skip
#: The same for rooms of a crate as wholes, whatever files are in them.
ROOM_CIRCLES: list[set[str]] = [
    {"ledger/event", "ledger/journal"},
]  # fmt: skip

#: Who reads or writes files → what.
FILES = {
    "api/certificates": "files of certificates, which may be links",
    "api/client/key": "the file of an API key",
    "api/client/whom": "remembers, in a file of the user, which server got a key",
    "api/commands": "makes folders and sets the umask",
    "api/commands/bench": "removes its own folder",
    "api/commands/bench/evidence": "makes evidence in its own folder, and removes it",
    "api/commands/bench/floors": "measures the disk alone",
    "api/commands/bench/jetstream": "removes its own files",
    "api/commands/bench/site": "starts a server in its own folder",
    "api/commands/demo": "shows what it has written",
    "api/commands/demo/approval": "shows what it has written",
    "api/commands/evidence/monthly": "which months are made, and complete",
    "api/commands/evidence/source": "the export that it reads",
    "api/commands/export/kept": "the export that it puts into a store, and where that is",
    "api/commands/export/target": "the folder that it writes into",
    "api/commands/publish/lines": "the file that it publishes, and its place in it",
    "api/commands/policy": "the folder of policies that it is given",
    "api/commands/policy/judge": "the file of calls that it judges",
    "api/commands/replica/join": "whether `data_dir` is empty, and the tenants of `keys_dir`",
    "api/commands/replica/join/fetch": "the folder into which it copies, until it is in place of `data_dir`",
    "api/commands/sources": "the file of declared sources",
    "api/commands/rules": "rules and people on the command line, before they are applied",
    "api/config": "the configuration, and the folders that it names",
    "api/config/check": "whether what the configuration names is there",
    "api/limits": "what the kernel allows this process",
    "api/metrics/figures": "free space and backups",
    "api/metrics/own": "/proc of this process",
    "api/replicas/copies": "the folder of copies for machines that join",
    "api/routes/operate": "makes the folder of a backup",
    "api/sinks/file": "writes into the files that `ledger/atomic` opens for it",
    "api/sinks/setup": "whether the folder of a sink is there, and its secret is private",
    "api/verify": "whether an argument is a file",
    "api/verify/approval": "the folder that it verifies",
    "api/verify/evidence": "the folder that it verifies",
    "api/verify/export": "the folder that it verifies",
    "api/verify/file": "the file that it verifies",
    "api/verify/names": "the files that it is given",
    "api/verify/policy": "whether an export carries a policy",
    "api/verify/range": "the folder that it verifies",
    "approvals/secret": "the secret of a chat",
    "approvals/setup": "rules and people",
    "ledger/atomic": "writes each file whole",
    "ledger/guard": "the guard's slots",
    "ledger/journal/jetstream/options": "the broker's password",
    "ledger/keyring": "the keys of a tenant",
    "ledger/spool/segment": "what is told before it is in the journal",
    "ledger/store/rocks": "the database's folder",
}
ENVIRONMENT = {
    "api/commands/bench/site": "where this program is: it starts it once more",
    "api/commands/demo": "as above, and the folder for temporary files",
    "api/config": "`COUNTERSIGN_SEVERAL_SIGNERS`, in builds with fault points",
    "api/terminal": "`NO_COLOR`",
    "approvals/fault": "`COUNTERSIGN_FAULT`, in builds with fault points",
}
CLOCK = {
    "api/commands/bench/calls": "makes events of now",
    "api/commands/bench/load": "numbers that no earlier run has used",
    "api/commands/bench/seed": "makes approvals of now",
    "api/commands/export/kept": "until when objects are locked",
    "api/commands/policy/explain": "a call of now, unless a time is given",
    "api/commands/recover": "hands it to the log",
    "api/config": "hands it to the ledger",
    "api/metrics/own": "when this process was started",
    "api/sinks/datadog": "whether a record is too old for its receiver",
    "api/sinks/http": "when a request was signed, for its receiver",
    "ledger/clock": "the one reading of it",
    "ledger/journal/embedded/adapter": "the time of what it takes without a ledger: in its tests",
}
#: Longer files, with the lines that they have today.
LONG = {
    "crates/decider/src/approval/tests/edges.rs": 755,
    "crates/decider/src/approval/tests/laws.rs": 427,
    "crates/ledger/src/journal/conformance.rs": 418,
    "crates/ledger/src/writer.rs": 441,
    "tests/approvals/test_approval_limits.py": 416,
    "tests/approvals/test_approval_history.py": 458,
    "tests/approvals/test_pages.py": 540,
    "tests/approvals/test_slack.py": 549,
    "tests/approvals/test_teams.py": 577,
    "tests/faults/test_disk.py": 530,
    "tests/faults/test_strace.py": 418,
    "tests/jetstream/test_journeys.py": 613,
    "tests/jetstream/test_p4.py": 437,
    "tests/support/fakeslack.py": 431,
    "tests/tamper/attacks.py": 569,
    "tests/test_cli.py": 447,
    "tests/test_feed.py": 469,
    "tests/test_limits.py": 408,
    "tests/test_publish.py": 466,
    "tests/test_third_party.py": 511,
    "tests/test_verify_claims.py": 561,
}
