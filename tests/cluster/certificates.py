"""Certificates of an authority of our own, as an operator of a cluster would make them."""

import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 2
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def make_certificates(folder, roles):
    """Make an authority, ``ca.pem``, and for each role ``<role>.pem`` and ``<role>.key``."""
    folder.mkdir()
    authority = ec.generate_private_key(ec.SECP256R1())
    ca = _builder("authority", authority, authority, ["key_cert_sign", "crl_sign"])
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    _write(folder / "ca.pem", _signed(ca, authority))
    for role in roles:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _builder(role, key, authority, ["digital_signature"])
        certificate = certificate.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        _write(folder / f"{role}.pem", _signed(certificate.add_extension(both, critical=False), authority))
        _write(folder / f"{role}.key", _private(key))


def _builder(name, key, authority, usages):
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .add_extension(x509.KeyUsage(**{usage: usage in usages for usage in USAGES}), critical=True)
    )


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(builder, authority):
    return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _private(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path, content):
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
