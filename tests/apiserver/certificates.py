"""The cluster's certificate authority: a CA, a server certificate, clients' certificates.

Who a client is stands in its certificate: the common name is the user, each organization a group
(kubernetes.io, Authenticating, "X.509 client certificates").
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = datetime.timedelta(hours=1)
DAY = 24 * HOUR


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as kubelets write theirs; the flag for service accounts knows no PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


class Authority:
    """A CA, in memory.

    With `extensions=False` its certificate has none at all, as far from RFC 5280 as any that works:
    version 1. A version 3 certificate without basicConstraints is no CA to anyone, OpenSSL and Go
    refuse what it signed (RFC 5280, 6.1.4 (k)).
    """

    def __init__(
        self, *, extensions: bool = True, lifetime: datetime.timedelta = 3650 * DAY
    ) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("dtagent-test-ca")
        builder = _builder(self._name, self._key, now() - DAY, now() + lifetime)
        builder = builder.issuer_name(self._name)
        if extensions:
            public = self._key.public_key()
            builder = (
                builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
                .add_extension(_key_usage(signs_certificates=True), True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        if not extensions:
            certificate = _as_version_1(certificate, self._key)
        self.certificate = certificate
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.key = key_pem(self._key)

    def issue(
        self,
        common_name: str,
        groups: Iterable[str] = (),
        *,
        hosts: Iterable[str] = (),
        not_before: datetime.datetime | None = None,
        not_after: datetime.datetime | None = None,
    ) -> tuple[bytes, bytes]:
        """A certificate and its key, as PEM: a server's where `hosts` (names, addresses) are given.

        Valid for a day from an hour ago; one that ended earlier was valid for an hour before that.
        """
        end = not_after or now() + DAY
        start = not_before or min(now(), end) - HOUR
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_host(host) for host in hosts]
        use = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(_name(common_name, groups), key, start, end)
            .issuer_name(self._name)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_key_usage(signs_certificates=False), True)
            .add_extension(x509.ExtendedKeyUsage([use]), False)
            .add_extension(authority, False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), key_pem(key)


def _name(common_name: str, groups: Iterable[str] = ()) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    start: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _as_version_1(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """The certificate without its version field, signed anew: the library itself writes only v3.

    RFC 5280, 4.1: a Certificate is what is signed, the algorithm and the signature; a version that
    is left out means v1. X.690 has the encoding.
    """
    version_3 = b"\xa0\x03\x02\x01\x02"
    signed = certificate.tbs_certificate_bytes
    after = certificate.public_bytes(serialization.Encoding.DER).partition(signed)[2]
    algorithm = after[: 2 + after[1]]
    fields = _der(0x30, signed.partition(version_3)[2])
    signature = _der(0x03, b"\0" + key.sign(fields, ec.ECDSA(hashes.SHA256())))
    return x509.load_der_x509_certificate(_der(0x30, fields + algorithm + signature))


def _der(tag: int, content: bytes) -> bytes:
    """One value with its tag and its length (X.690, 8.1.3)."""
    length = len(content).to_bytes(2, "big").lstrip(b"\0")
    long = b"" if len(content) < 0x80 else bytes([0x80 | len(length)])
    return bytes([tag]) + long + length + content
