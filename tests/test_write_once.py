"""An export in a write-once store: nobody deletes or overwrites it, and it verifies from there (P20). moto is the store; Amazon's own
client is the outside reader."""

from __future__ import annotations

import datetime
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from support import Finished, Server, cli, event, free_port, until
from test_retention import keep

BUCKET = "kept"


class Vault:
    """moto's S3, with a bucket that locks objects."""

    def __init__(self, root: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = root / "moto.log"
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", self.url.rsplit(":", 1)[1]]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until("moto to answer", lambda: self.process.poll() is not None or self.answers())
        assert self.process.poll() is None, self.log.read_text()
        self.client: Any = boto3.client("s3", endpoint_url=self.url, region_name="eu-central-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret")
        for name, locks in ((BUCKET, True), ("plain", False)):
            self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locks, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        (root / "id").write_text("AKIDEXAMPLE\n")
        (root / "secret").write_text("secret\n")
        self.file = root / "s3.toml"
        self.write()

    def write(self, **over: Any) -> None:
        """The file of `--store`."""
        root = self.file.parent
        values = {"endpoint": self.url, "region": "eu-central-1", "path_style": True, "access_key_file": str(root / "id"), "secret_key_file": str(root / "secret")}
        self.file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in (values | over).items()))

    def answers(self) -> bool:
        try:
            return httpx.get(self.url, trust_env=False, timeout=5).status_code < 500
        except httpx.TransportError:
            return False

    def keys(self, bucket: str = BUCKET) -> list[str]:
        """All objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        """The content of one."""
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def versions(self, key: str) -> list[dict[str, Any]]:
        """All versions of one, marks of deletion included."""
        found = self.client.list_object_versions(Bucket=BUCKET, Prefix=key)
        return [one for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, []) if one["Key"] == key]

    def end(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """An empty store."""
    folder = tmp_path / "vault"
    folder.mkdir()
    made = Vault(folder)
    yield made
    made.end()


@pytest.fixture
def put(server: Server, vault: Vault, tmp_path: Path) -> Callable[..., Finished]:
    """`countersign export … --into`"""
    key = server.add_key(["auditor"])

    def run(*more: object, to: str = f"s3://{BUCKET}/acme/log", days: int | None = 30) -> Finished:
        retain = [] if days is None else ["--retain-days", days]
        return server.remote("export", "--tenant", "acme", "--into", to, "--store", vault.file, "--key", server.vkey, *retain, *more, tmp_path / "export", key=key)

    return run


def restored(vault: Vault, size: int, folder: Path) -> Path:
    """The export, made again from the store alone, by its list of objects."""
    manifest = json.loads(vault.read(f"acme/log/exports/{size}.json"))
    for one in manifest["objects"]:
        content = vault.read(one["key"])
        assert len(content) == one["bytes"] and hashlib.sha256(content).hexdigest() == one["sha256"]
        path = folder / one["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_p20_what_is_kept_can_not_be_deleted_or_overwritten(server: Server, vault: Vault, put: Callable[..., Finished], tmp_path: Path) -> None:
    """Each object is locked in mode COMPLIANCE to the day; from the store alone the export verifies; it grows without writing anything twice."""
    server.as_("publisher").publish(*(event() for _ in range(300)))
    done = put().ok()
    size = int((tmp_path / "export" / "checkpoint").read_text().split("\n")[1])
    manifest = f"acme/log/exports/{size}.json"
    assert f"sha256 {hashlib.sha256(vault.read(manifest)).hexdigest()}" in done.out
    assert cli("verify", "--key", server.vkey, "--export", restored(vault, size, tmp_path / "restored")).code == 0
    now = datetime.datetime.now(datetime.UTC)
    for key in vault.keys():
        head = vault.client.head_object(Bucket=BUCKET, Key=key)
        assert head["ObjectLockMode"] == "COMPLIANCE", key
        assert now + datetime.timedelta(days=30) <= head["ObjectLockRetainUntilDate"] <= now + datetime.timedelta(days=31, minutes=1), key
        with pytest.raises(ClientError, match="AccessDenied"):
            vault.client.delete_object(Bucket=BUCKET, Key=key, VersionId=head["VersionId"])
    before = {key: vault.versions(key) for key in vault.keys()}
    put().ok()
    assert {key: vault.versions(key) for key in vault.keys()} == before, "again: nothing is written"
    server.as_("publisher").publish(*(event() for _ in range(300)))
    put().ok()
    assert all(vault.versions(key) == versions for key, versions in before.items()), "an object is never written twice"
    larger = int((tmp_path / "export" / "checkpoint").read_text().split("\n")[1])
    assert cli("verify", "--key", server.vkey, "--export", restored(vault, larger, tmp_path / "larger")).code == 0


def test_p20_an_interrupted_upload_goes_on(server: Server, vault: Vault, put: Callable[..., Finished], tmp_path: Path) -> None:
    """Objects of an upload that ended early are found; a lock that is too short is made longer; what holds something else stops it."""
    server.as_("publisher").publish(*(event() for _ in range(300)))
    put(days=1).ok()
    size = int((tmp_path / "export" / "checkpoint").read_text().split("\n")[1])
    first = {key: vault.client.head_object(Bucket=BUCKET, Key=key)["ObjectLockRetainUntilDate"] for key in vault.keys()}
    put(days=100).ok()
    for key, until_then in first.items():
        head = vault.client.head_object(Bucket=BUCKET, Key=key)
        assert head["ObjectLockRetainUntilDate"] - until_then == datetime.timedelta(days=99) and len(vault.versions(key)) == 1, key
    # Part of another upload lies there, and one object is not ours.
    body = (tmp_path / "export" / "tile" / "entries" / "000").read_bytes()
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=200)}
    vault.client.put_object(Bucket=BUCKET, Key="other/tile/entries/000", Body=body, ChecksumAlgorithm="SHA256", **lock)
    put(to=f"s3://{BUCKET}/other").ok()
    assert len(vault.versions("other/tile/entries/000")) == 1 and f"other/exports/{size}.json" in vault.keys()
    vault.client.put_object(Bucket=BUCKET, Key="third/tile/entries/000", Body=b"something else", **lock)
    refused = put(to=f"s3://{BUCKET}/third")
    assert refused.code == 1 and "holds something else" in refused.err, refused
    assert vault.read("third/tile/entries/000") == b"something else" and "third/exports" not in str(vault.keys())


def test_p20_what_can_not_be_kept_is_refused(server: Server, vault: Vault, put: Callable[..., Finished], tmp_path: Path) -> None:
    """Payload, a bucket without locks, a lock below the floor, no days at all, an export that does not verify, secrets without TLS."""
    server.as_("publisher").publish(event())
    assert put("--disclosures").code == 2
    assert put(days=None).code == 2
    assert keep(server, 400, 365).status_code == 200
    assert put(days=364).code == 2
    assert "floor" in put(days=364).err
    for place in ("s3://", "s3:///x", "http://kept/x", f"s3://{BUCKET}/../x", f"s3://{BUCKET}//x", f"s3://{BUCKET}/a b"):
        assert put(to=place).code == 2, place
    none = put(to="s3://plain/acme", days=365)
    assert none.code == 1, none
    assert "exports" not in str(vault.keys("plain"))
    for wrong in ({"endpoint": "http://s3.example.com"}, {"endpoint": "https://user:pw@s3.example.com"}, {"secret_key_file": "/nowhere"}, {"more": 1}):
        vault.write(**wrong)
        assert put(days=365).code == 64, wrong
    vault.write()
    done = put(days=None).ok()
    head = vault.client.head_object(Bucket=BUCKET, Key=vault.keys()[0])
    assert head["ObjectLockRetainUntilDate"] > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=400), "the tenant's retention"
    assert "secret" not in done.out + done.err
    server.as_("publisher").publish(event())
    other = server.add_tenant("globex")
    stranger = server.remote("export", "--tenant", "acme", "--into", f"s3://{BUCKET}/x", "--store", vault.file, "--key", other["vkey"], "--retain-days", 400, tmp_path / "export")
    assert stranger.code == 1 and "nothing was put into the store" in stranger.err, stranger
    assert not [key for key in vault.keys() if key.startswith("x/")]
