"""Certificates of an OPC UA connection: ours is made here, the server's is compared with those that are trusted.

`python -m connectors.opcua_certificates FOLDER` writes own.der and own.pem into the folder. The plant's administrator
lets the server trust own.der, and puts the server's certificate into FOLDER/trusted.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from procmodel.errors import HistorianError, PlantFileError

VALID = timedelta(days=730)


def make_certificate(folder: Path, *, name: str = "procmodel", server: bool = False) -> tuple[Path, Path]:
    """A self-signed application certificate and its key (OPC 10000-6, 6.2.2): own.der and own.pem in `folder`.

    Raises:
        PlantFileError: there is one already; a server that trusts it would no longer know us.
    """
    certificate, key = folder / "own.der", folder / "own.pem"
    if certificate.exists() or key.exists():
        raise PlantFileError(f"{folder} holds a certificate or key already. Name another folder, or remove them.")
    (folder / "trusted").mkdir(parents=True, exist_ok=True)
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    made = _self_signed(private, name=name, server=server)
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Ours alone from the first byte on, not only after it is written.
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    certificate.write_bytes(made.public_bytes(serialization.Encoding.DER))
    return certificate, key


def _self_signed(private: rsa.RSAPrivateKey, *, name: str, server: bool) -> x509.Certificate:
    host, now = socket.gethostname(), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    public = private.public_key()
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=subject,
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(minutes=5),  # clocks of plants differ
        not_valid_after=now + VALID,
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
        (
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(f"urn:{host}:{name}"), x509.DNSName(host), x509.DNSName("localhost")]
            ),
            False,
        ),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(), True),
        (x509.ExtendedKeyUsage([usage]), False),
    ]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(private, hashes.SHA256())


def _key_usage() -> x509.KeyUsage:
    # keyCertSign as OPC 10000-6 asks of self-signed application certificates.
    used = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_cert_sign"), True
    )
    unused = dict.fromkeys(("key_agreement", "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(**used, **unused)


def load_certificate(file: Path) -> x509.Certificate:
    """A certificate, DER or PEM.

    Raises:
        PlantFileError: it is neither.
    """
    data = file.read_bytes()
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise PlantFileError(f"{file} is no certificate in DER or PEM: {error}. Export it again.") from error


def application_uri(certificate: x509.Certificate) -> str:
    """The URI under which the owner of a certificate is known; "" where it holds none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), "")


def require_trusted(certificate: x509.Certificate, folder: Path, *, now: datetime | None = None) -> None:
    """Nothing, where a server's certificate or the authority that issued it lies in `folder` and is in date.

    Raises:
        HistorianError: it is not trusted or out of date; an unknown one is laid into `rejected` beside the folder.
    """
    now = now or datetime.now(UTC)
    own = certificate.subject.rfc4514_string()
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise HistorianError(
            f"The server's certificate ({own}) is valid from {certificate.not_valid_before_utc.isoformat()} to "
            f"{certificate.not_valid_after_utc.isoformat()}, not now. Renew it on the server."
        )
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in (".der", ".pem", ".crt", ".cer")]
    if any(_vouches(load_certificate(file), certificate) for file in files):
        return
    digest = certificate.fingerprint(hashes.SHA256()).hex()
    rejected = folder.parent / "rejected"
    rejected.mkdir(exist_ok=True)
    shown = rejected / f"{digest[:16]}.der"
    shown.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    raise HistorianError(
        f"The server's certificate ({own}, SHA-256 {digest}) is not trusted. Compare the SHA-256 with the one that "
        f"the server's administrator reads there, then move {shown} to {folder}."
    )


def _vouches(trusted: x509.Certificate, certificate: x509.Certificate) -> bool:
    if trusted == certificate:
        return True
    try:
        if not trusted.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(trusted)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Makes a certificate in the folder named."""
    given = list(sys.argv[1:] if argv is None else argv)
    if len(given) != 1 or given[0].startswith("-"):
        print("usage: python -m connectors.opcua_certificates FOLDER", file=sys.stderr)
        return 2
    try:
        certificate, key = make_certificate(Path(given[0]))
    except (PlantFileError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Certificate {certificate} for the server to trust; key {key} stays here. It ends in {VALID.days} days.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
