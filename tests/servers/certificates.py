"""Certificates that a client has to refuse."""

import datetime as dt
import ssl
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Certificate = trustme.LeafCert | ssl.SSLContext


def self_signed(host: str, folder: Path) -> ssl.SSLContext:
    """Return the context of a server whose certificate is its own issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = folder / "self-signed.pem"
    chain.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context


def certificate(fault: str, host: str, authority: trustme.CA, folder: Path) -> Certificate:
    """Return the certificate of a server of this name that has this fault."""
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    match fault:
        case "wrong name":
            return authority.issue_cert("other.example.com")
        case "the address dialled":
            return authority.issue_cert("127.0.0.1")
        case "expired":
            return authority.issue_cert(
                host, not_before=yesterday - dt.timedelta(days=1), not_after=yesterday
            )
        case "unknown authority":
            return trustme.CA().issue_cert(host)
        case _:
            return self_signed(host, folder)
