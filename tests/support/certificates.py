"""A certificate authority of our own, and a certificate of 127.0.0.1."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """As a file."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def make_certificates(folder: Path, *, name: str | None = None, ended: bool = False, addresses: tuple[str, ...] = ("127.0.0.1",)) -> None:
    """A CA and a certificate of addresses, and of a name: ca.pem, server.pem, server.key. `ended`: since a minute ago."""
    now = datetime.now(timezone.utc)
    called: list[x509.GeneralName] = [*(x509.IPAddress(ipaddress.ip_address(one)) for one in addresses), *([x509.DNSName(name)] if name else [])]
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("test CA", "127.0.0.1")]

    def build(subject: int, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
        until = now - timedelta(minutes=1) if ended and subject else now + timedelta(hours=1)
        builder = (
            x509.CertificateBuilder().subject_name(names[subject]).issuer_name(names[0]).public_key(keys[subject].public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1)).not_valid_after(until)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(keys[subject].public_key()), False)
        )  # fmt: skip
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    folder.mkdir()
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = build(0, (x509.BasicConstraints(True, None), True), (usage, True))
    leaf = build(
        1, (x509.BasicConstraints(False, None), True), (x509.SubjectAlternativeName(called), False),
        (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH, x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    )  # fmt: skip
    (folder / "ca.pem").write_bytes(ca)
    (folder / "server.pem").write_bytes(leaf + ca)
    (folder / "server.key").write_bytes(pem_key(keys[1]))
