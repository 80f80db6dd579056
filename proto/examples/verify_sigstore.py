#!/usr/bin/env python3
"""Verifies receipts of a Countersign log with sigstore-python's Merkle code. None of this is code of Countersign.

    verify_sigstore.py log.vkey receipt.tlog-proof...        needs the packages `sigstore` and `cryptography`

It reads what ../formats/receipt.md says: the entry, its index and the proof, and then the signed checkpoint.
"""
import base64, pathlib, sys
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import LogCheckpoint, SignedNote
from sigstore.errors import VerificationError


def verify(vkey, text):
    """Index and size; raises what is wrong."""
    name, id, key = vkey.split("+", 2)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])
    head, _, checkpoint = text.partition("\n\n")
    version, extra, index, *proof = head.split("\n")
    if version != "c2sp.org/tlog-proof@v1":
        raise ValueError("not a receipt")
    note = SignedNote.from_text(checkpoint)
    lines = [line for line in note.signatures if (line.name, line.sig_hash.hex()) == (name, id)]
    if not lines:
        raise ValueError("not signed by this key")
    key.verify(base64.b64decode(lines[0].signature), note.note.encode())
    tree = LogCheckpoint.from_text(note.note)
    if tree.origin != name:
        raise ValueError("not a checkpoint of this log")
    index = int(index.removeprefix("index "))
    inclusion = SimpleNamespace(
        log_index=index, tree_size=tree.log_size, root_hash=bytes.fromhex(tree.log_hash),
        hashes=[base64.b64decode(line) for line in proof],
    )
    body = base64.b64decode(extra.removeprefix("extra "))
    verify_merkle_inclusion(SimpleNamespace(_inner=SimpleNamespace(inclusion_proof=inclusion, canonicalized_body=body)))
    return index, tree.log_size


vkey = pathlib.Path(sys.argv[1]).read_text().strip()
for path in sys.argv[2:]:
    try:
        index, size = verify(vkey, pathlib.Path(path).read_bytes().decode())
    except (ValueError, InvalidSignature, VerificationError) as error:
        sys.exit(f"REFUSED {path}: {error!r}")
    print(f"verified {path}: entry {index} of {size}")
