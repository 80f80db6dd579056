"""Passkeys: how one comes into force, signing in, and answers that it signs (P7, P10). Attacks with a device in software."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from fido2.cose import ES256, RS256
from fido2.server import Fido2Server
from fido2.webauthn import (
    Aaguid, AttestedCredentialData, AuthenticationResponse, AuthenticatorAssertionResponse, AuthenticatorData, CollectedClientData,
    PublicKeyCredentialRpEntity, UserVerificationRequirement,
)  # fmt: skip
from support import Server, cli
from support.client import Key
from support.pages import KEYS, RULES, Office, hidden
from support.passkeys import (
    PRESENT, VERIFIED, Device, admitted, asked, b64url, confirming, enrolled, request_of, requested, sign_in, unb64url,
)  # fmt: skip

VECTOR = Path(__file__).parents[2] / "proto/vectors/passkey.json"
TRANSFER = {"amount": 5000, "currency": "EUR", "to": "DE02120300000000202051"}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A server at a host name, as passkeys need."""
    with Server(tmp_path_factory.mktemp("passkeys")) as server:
        yield Office.open(server, f"http://localhost:{server.port}")


@pytest.fixture(scope="module")
def origin(office: Office) -> str:
    """Where its pages are."""
    return str(office.server.settings["public_url"])


def events(office: Office, id: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in office.history(id) if event["type"] == kind]


def refusal(office: Office, folder: Path) -> str:
    """What `verify` says against a folder."""
    done = cli("verify", "--key", office.server.vkey, "--approval", folder)
    assert done.code == 1 and "key, verified" not in done.out, done
    return done.out + done.err


def key_of(office: Office, key_id: str) -> list[dict[str, Any]]:
    """What the log says of a key."""
    return [entry["event"] for entry in office.server.admin.entries(kind="access") if entry["event"].get("key_id") == key_id]


def test_p10_a_passkey_is_in_force_only_once_an_admin_agreed(office: Office, origin: str) -> None:
    device = Device(origin)
    request = request_of(requested(office.visitor("p-maria"), device, "Maria's phone"))
    _, answer = sign_in(office, device)
    assert answer.status_code == 401, "nobody agreed yet"
    reviewer = office.server.client(office.key("p-jonas"))
    assert reviewer.http.post(f"{reviewer.t}/passkeys", json={"request": request}).status_code == 403
    own = office.server.client(office.server.add_key(["admin"], person="p-maria"))
    assert own.http.post(f"{own.t}/passkeys", json={"request": request}).status_code == 403, "nobody agrees to their own"
    for broken in (request[:-2] + "AA", request[1:], "", "a.b"):
        admitted(office, broken, 400)
    enrolment = admitted(office, request).json()
    assert enrolment["person"] == "p-maria" and enrolment["name"] == "Maria's phone"
    [entry] = key_of(office, enrolment["key_id"])
    passkey = {"credential": b64url(device.id), "public_key": b64url(device.public_key), "origin": origin}
    assert (entry["op"], entry["person"], entry["passkey"]) == ("add", "p-maria", passkey)
    assert entry["by"]["key"] == office.server.admin_key.id and entry["reason"]
    assert entry["key_id"] == hashlib.sha256(b"acme\0" + device.id).hexdigest()[:16]
    admitted(office, request, 409)
    _, answer = sign_in(office, device, next="/approvals/apr-1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/approvals/apr-1")


def test_p10_where_the_rules_say_so_a_second_person_approves_it(tmp_path: Path) -> None:
    with Server(tmp_path / "server") as server:
        office = Office.open(server, f"http://localhost:{server.port}")
        maria, jonas = office.visitor("p-maria"), office.visitor("p-jonas")
        office.write(KEYS + RULES, [{"id": id, **person} for id, person in office.people.items()])
        office.apply()
        device = Device(server.settings["public_url"])
        request = request_of(requested(maria, device))
        page = maria.get(f"/passkeys?request={request}").text
        id = page.split("Somebody else must approve it: ")[1].split(".")[0]
        admitted(office, request, 409)
        finish = {"token": maria.fields("/passkeys")["token"], "request": request}
        assert "granted" in maria.post("/passkeys/finish", finish).text
        assert maria.get(f"/approvals/{id}").status_code == 404, "she can't approve her own"
        other = {"token": jonas.fields("/passkeys")["token"], "request": request}
        assert "Begin again" in jonas.post("/passkeys/finish", other).text, "it is not his"
        fields = jonas.fields(f"/approvals/{id}") | {"decision": "approve"}
        assert jonas.post(f"/approvals/{id}/review", fields).status_code == 303
        assert sign_in(office, device)[1].status_code == 401
        assert "Put it in force" in maria.get(f"/passkeys?request={request}").text
        assert maria.post("/passkeys/finish", finish).headers["location"] == "/passkeys?done=added"
        assert sign_in(office, device)[1].status_code == 303
        [entry] = [e["event"] for e in server.admin.entries(kind="access") if "passkey" in e["event"]]
        assert entry["by"]["approval"] == id and entry["by"]["person"] == "p-maria"
        assert maria.post("/passkeys/finish", finish).status_code == 200, "one approval, one passkey"
        assert len([e for e in server.admin.entries(kind="access") if "passkey" in e["event"]]) == 1


def test_p7_an_enrolment_from_elsewhere_is_refused(office: Office, origin: str) -> None:
    nils = office.visitor("p-nils")
    for over in [
        {"origin": "https://evil.example"}, {"relying_party": "evil.example"}, {"flags": PRESENT | 64}, {"flags": PRESENT | VERIFIED},
        {"challenge": b64url(bytes(32))},
    ]:  # fmt: skip
        answer = requested(nils, Device(origin), **over)
        assert answer.status_code == 200 and "be used" in answer.text, over
    page, device = nils.get("/passkeys").text, Device(origin)
    form = hidden(page) | {"name": "twice", "made": device.made(asked(page, "challenge"))}
    assert nils.post("/passkeys", form).status_code == 303
    assert "too old" in nils.post("/passkeys", form).text
    stranger = office.visitor("p-omar")
    assert stranger.post("/passkeys", form).status_code == 403, "the form of another session"


def test_p7_attacks_on_signing_in(office: Office, origin: str) -> None:
    device = Device(origin)
    enrolled(office, "p-jonas", device)
    for over in [
        {"origin": "https://evil.example"}, {"origin": f"{origin}0"}, {"relying_party": "evil.example"}, {"flags": PRESENT}, {"flags": VERIFIED},
        {"purpose": "webauthn.create"}, {"client": {"crossOrigin": True}}, {"challenge": b64url(bytes(32))},
    ]:  # fmt: skip
        assert sign_in(office, device, **over)[1].status_code == 401, over
    thief = Device(origin, id=device.id)
    assert sign_in(office, thief)[1].status_code == 401, "another key under the same id"
    device.counter = 100
    visitor = office.visitor()
    ask = visitor.get("/signin/passkey").json()
    form = {"signed": device.signed(ask["nonce"], ask["challenge"]), "next": "//evil.example"}
    first = visitor.post("/signin/passkey", form)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    assert office.visitor().post("/signin/passkey", form).status_code == 401, "the same signature again"
    assert sign_in(office, device, counter=101)[1].status_code == 401, "the counter stands still"
    assert sign_in(office, device, counter=7)[1].status_code == 401, "the counter went back"
    assert sign_in(office, device, counter=0)[1].status_code == 401, "the counter is gone"
    office.server.restart()
    assert sign_in(office, device, counter=101)[1].status_code == 401, "nor after a restart"
    assert sign_in(office, device, counter=102)[1].status_code == 303
    assert office.visitor().post("/signin/passkey", form, Origin="https://evil.example").status_code == 403
    shared = Device(origin, counting=False)
    enrolled(office, "p-jonas", shared)
    assert [sign_in(office, shared)[1].status_code for _ in range(2)] == [303, 303]


def test_p7_an_answer_is_signed_and_anybody_can_check_it(office: Office, origin: str, tmp_path: Path) -> None:
    for windows in (False, True):
        device = Device(origin, windows=windows)
        key_id = enrolled(office, "p-maria", device)
        paused = office.pause(TRANSFER)
        maria, _ = sign_in(office, device)
        fields, ask = confirming(maria, paused)
        bare = maria.post(f"/approvals/{paused.id}/review", fields)
        assert bare.status_code == 409 and "it must sign your answer" in bare.text
        fields, ask = confirming(maria, paused)
        done = maria.post(f"/approvals/{paused.id}/review", fields | {"signed": device.signed(**ask), "comment": "ok"})
        assert done.status_code == 303, done.text
        [review] = events(office, paused.id, "reviewed")
        assert (review["by"], review["via"], review["auth"]["method"]) == ("p-maria", "web", "passkey")
        judge(review, device, paused.id, paused.digest, origin)
        folder = tmp_path / f"approval-{windows}"
        office.server.remote("export", "--tenant", "acme", "--approval", paused.id, folder).ok()
        assert (folder / f"passkey-{review['signed']['enrolled']['index']}.tlog-proof").exists()
        told = cli("verify", "--key", office.server.vkey, "--approval", folder).ok().out
        assert "p-maria's key, verified" in told and key_id in told, told
        item = cli("verify", "--key", office.server.vkey, "--approval", folder, "--json").ok().json()["items"][0]
        assert [key["person"] for key in item["passkeys"]] == ["p-maria"]
        assert "signatures_of_passkeys" in item["checked"] and "passkeys_in_force" in item["not_checked"]
        [proof] = folder.glob("passkey-*")
        shutil.copy(folder / "1.tlog-proof", proof)
        assert "another entry" in refusal(office, folder)
        proof.unlink()
        assert "there is no passkey-" in refusal(office, folder)
    whole = tmp_path / "whole"
    office.server.remote("export", "--tenant", "acme", whole).ok()
    office.server.remote("export", "--tenant", "acme", "--approval", paused.id, tmp_path / "again").ok()
    both = cli("verify", "--key", office.server.vkey, "--export", whole, "--approval", tmp_path / "again").ok()
    assert "p-maria's key, verified" in both.out


def judge(review: dict[str, Any], device: Device, id: str, digest: str, origin: str) -> None:
    """Yubico's library, which knows nothing of ours, accepts the assertion for the challenge that the format page describes."""
    signed, assertion = review["signed"], review["signed"]["assertion"]
    answer = {
        "approval_id": id, "decision": review["decision"], "digest": digest, "nonce": signed["nonce"], "person": review["by"],
        "tenant": "acme", "version": signed["version"],
    }  # fmt: skip
    challenge = hashlib.sha256(b"countersign-answer-v1\0" + rfc8785.dumps(answer)).digest()
    public: Any = load_der_public_key(device.public_key)
    kind = RS256 if isinstance(public, RSAPublicKey) else ES256
    known = AttestedCredentialData.create(Aaguid.NONE, device.id, kind.from_cryptography_key(public))
    host = origin.split("://")[1].split(":")[0]
    server = Fido2Server(PublicKeyCredentialRpEntity(id=host, name="x"), verify_origin=lambda found: found == origin)
    state = {"challenge": b64url(challenge), "user_verification": UserVerificationRequirement.REQUIRED}
    data, client = unb64url(assertion["authenticator_data"]), unb64url(assertion["client_data"])
    response = AuthenticatorAssertionResponse(
        client_data=CollectedClientData(client), authenticator_data=AuthenticatorData(data), signature=unb64url(assertion["signature"]),
    )
    found = server.authenticate_complete(state, [known], AuthenticationResponse(raw_id=device.id, response=response))
    assert found.credential_id == device.id
    with pytest.raises(ValueError, match="challenge"):
        server.authenticate_complete(state | {"challenge": b64url(bytes(32))}, [known], AuthenticationResponse(raw_id=device.id, response=response))


def test_p7_the_foreign_judge_agrees_with_the_vectors() -> None:
    vector = json.loads(VECTOR.read_text())
    passkey, answer = vector["passkey"], vector["answer"]
    known: Any = SimpleNamespace(id=unb64url(passkey["credential"]), public_key=unb64url(passkey["public_key"]))

    def accepts(assertion: dict[str, str]) -> None:
        signed = {"nonce": answer["nonce"], "version": answer["version"], "assertion": assertion}
        review = {"by": answer["person"], "decision": answer["decision"], "signed": signed}
        judge(review, known, answer["approval_id"], answer["digest"], passkey["origin"])

    accepts(vector["good"])
    # It does not read `crossOrigin`, which WebAuthn lets a server decide about.
    for bad in (bad for bad in vector["bad"] if bad["why"] != "a page in a frame"):
        with pytest.raises(ValueError, match="Wrong|Invalid|Incorrect|required|not set"):
            accepts(bad["assertion"])


def test_p7_attacks_on_a_signed_answer(office: Office, origin: str) -> None:
    hers, his = Device(origin), Device(origin)
    enrolled(office, "p-maria", hers)
    lost = enrolled(office, "p-maria", spare := Device(origin))
    enrolled(office, "p-nils", his)
    one, two = office.pause(TRANSFER), office.pause(TRANSFER)
    maria, _ = sign_in(office, hers)
    nils, _ = sign_in(office, his)

    def refused(why: str, signed: str, fields: dict[str, str], place: str = one.id, by: Any = maria) -> None:
        answer = by.post(f"/approvals/{place}/review", fields | {"signed": signed})
        assert answer.status_code in (200, 401, 403, 409) and why in answer.text, answer.text
        assert events(office, place, "reviewed") == []

    yes, ask = confirming(maria, one)
    no, _ = confirming(maria, one, "deny")
    other, _ = confirming(maria, two)
    signed = hers.signed(**ask)
    refused("something else", signed, no)
    refused("something else", signed, other, two.id)
    refused("another call", signed, yes | {"digest": two.digest})
    refused("another call", signed, yes | {"digest": one.digest[:8]})
    refused("something else", signed, yes | {"version": "2"})
    theirs, _ = confirming(nils, one)
    refused("not one of yours", signed, theirs, by=nils)
    refused("not one of yours", his.signed(**ask), yes)
    refused("something else", hers.signed(ask["nonce"], b64url(bytes(32))), yes)
    refused("something else", hers.signed(**ask, origin="https://evil.example"), yes)
    refused("something else", hers.signed(**ask, relying_party="evil.example"), yes)
    refused("did not verify", hers.signed(**ask, flags=PRESENT), yes)
    refused("counter", hers.signed(**ask, counter=1), yes)
    refused("too old", hers.signed(**ask), yes)
    ask_in = maria.get("/signin/passkey").json()
    refused("something else", hers.signed(ask_in["nonce"], ask_in["challenge"]), yes)
    office.server.admin.http.delete(f"{office.server.admin.t}/keys/{lost}").raise_for_status()
    yes, ask = confirming(maria, one)
    refused("not one of yours", spare.signed(**ask), yes)
    yes, ask = confirming(maria, one)
    assert maria.post(f"/approvals/{one.id}/review", yes | {"signed": hers.signed(**ask)}).status_code == 303
    assert [event["by"] for event in events(office, one.id, "reviewed")] == ["p-maria"]


def test_the_page_leads_to_the_sign_in_and_back(office: Office) -> None:
    visitor = office.visitor()
    answer = visitor.get("/passkeys?request=abc.def")
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin?next=/passkeys?request=abc.def")
    form = hidden(visitor.get(answer.headers["location"]).text)
    signed_in = visitor.sign_in("p-maria", office.key("p-maria").text, form["next"])
    assert signed_in.headers["location"] == "/passkeys?request=abc.def"
    strange = office.visitor().get("/passkeys?request=//evil.example")
    assert strange.headers["location"] == "/signin?next=/"


def test_p7_a_removed_passkey_opens_nothing_and_ends_its_sessions(office: Office, origin: str) -> None:
    device = Device(origin)
    key_id = enrolled(office, "p-nils", device)
    nils, _ = sign_in(office, device)
    assert "Sign out" in nils.get("/").text
    other = office.visitor("p-omar")
    form = {"token": other.fields("/passkeys")["token"], "key_id": key_id}
    assert other.post("/passkeys/remove", form).status_code == 404, "it is not his"
    form = {"token": nils.fields("/passkeys")["token"], "key_id": key_id}
    assert nils.post("/passkeys/remove", form).headers["location"] == "/passkeys?done=removed"
    assert "Sign out" not in nils.get("/").text
    assert sign_in(office, device)[1].status_code == 401
    removal = key_of(office, key_id)[-1]
    assert (removal["op"], removal["by"]["person"]) == ("remove", "p-nils")


def test_p12_a_passkey_is_no_bearer_key_and_belongs_to_one_tenant(office: Office, origin: str) -> None:
    device = Device(origin)
    key_id = enrolled(office, "p-omar", device)
    listed = office.server.admin.http.get(f"{office.server.admin.t}/keys").json()
    [key] = [key for key in listed if key["key_id"] == key_id]
    assert key["passkey"]["credential"] == b64url(device.id)
    for text in (f"cs_{key_id}_{key['sha256']}", f"cs_{key_id}_"):
        answer = office.server.admin.http.get(f"{office.server.admin.t}/approvals", headers={"Authorization": f"Bearer {text}"})
        assert answer.status_code == 401
    other = office.server.client(Key(office.server.add_tenant("other")["key"]), "other")
    request = request_of(requested(office.visitor("p-omar"), Device(origin)))
    assert other.http.post(f"{other.t}/passkeys", json={"request": request}).status_code == 400
    assert other.http.post(f"{office.server.admin.t}/passkeys", json={"request": request}).status_code == 404


def test_the_database_holds_what_the_entries_say(office: Office) -> None:
    office.server.stop()
    try:
        assert office.server.fsck().code == 0
    finally:
        office.server.start()


def test_p7_like_calls_are_not_answered_together_with_a_passkey(office: Office, origin: str) -> None:
    """A passkey signs each answer by itself."""
    calls = [office.pause(TRANSFER | {"amount": 100 + n}, action="batch") for n in range(5)]
    for call in calls:
        office.listed(call)
    device = Device(origin)
    enrolled(office, "p-maria", device)
    visitor, _ = sign_in(office, device)
    assert "It signs each answer by itself" in visitor.get("/").text and "together …" not in visitor.get("/").text
    ids = ".".join(call.id for call in calls)
    answer = visitor.get(f"/together?decision=approve&ids={ids}")
    assert answer.status_code == 409 and "Nothing was recorded" in answer.text
    form = hidden(visitor.get("/").text) | {
        "decision": "approve", "shown_at": "2026-11-20T05:48:00Z", "call": [f"{call.id}~{call.digest}~1" for call in calls],
    }  # fmt: skip
    assert visitor.post("/together", form).status_code == 409
    assert all([event["type"] for event in office.entries(call)] == ["requested"] for call in calls)
    key = office.visitor("p-maria").get(f"/together?decision=approve&ids={ids}")
    assert key.status_code == 200, "with her reviewer key she may"
