"""Keys and certificates for one run."""
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)


def name(common) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Differential"), x509.NameAttribute(NameOID.COMMON_NAME, common)])


def write(directory, file, certificate, key, chain=()):
    pem = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in [certificate, *chain])
    (directory / f"{file}.pem").write_bytes(pem)
    (directory / f"{file}.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def authority(directory, file, common, parent=None):
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, signer = (name(common), key) if parent is None else (parent[0].subject, parent[1])
    certificate = (
        x509.CertificateBuilder().subject_name(name(common)).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=30)).add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), True)
        .sign(signer, hashes.SHA256()))
    write(directory, file, certificate, key)
    return certificate, key


def leaf(directory, file, ca, common, names=(), uris=(), addresses=(), days=(-1, 30), client=True, server=True, use_rsa=False, chain=()):
    key = rsa.generate_private_key(65537, 2048) if use_rsa else ec.generate_private_key(ec.SECP256R1())
    alternatives = [x509.UniformResourceIdentifier(u) for u in uris] + [x509.DNSName(n) for n in names] + \
        [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
    builder = (
        x509.CertificateBuilder().subject_name(name(common)).issuer_name(ca[0].subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(NOW + datetime.timedelta(days=days[0]))
        .not_valid_after(NOW + datetime.timedelta(days=days[1])).add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(x509.ExtendedKeyUsage(usages), False))
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
    certificate = builder.sign(ca[1], hashes.SHA256())
    write(directory, file, certificate, key, chain)
    return certificate, key


def make(directory):
    ca = authority(directory, "ca", "Test CA")
    other = authority(directory, "other-ca", "Other CA")
    leaf(directory, "server", ca, "a.example", names=["a.example", "*.wild.example"], addresses=["127.0.0.1"])
    leaf(directory, "server-b", ca, "b.example", names=["b.example"])
    leaf(directory, "server-rsa", ca, "a.example", names=["a.example"], use_rsa=True)
    leaf(directory, "upstream", ca, "upstream.example", names=["upstream.example"], uris=["spiffe://cluster.local/ns/default/sa/upstream"])
    leaf(directory, "client", ca, "client", uris=["spiffe://cluster.local/ns/default/sa/client"], names=["client.example"])
    leaf(directory, "client-b", ca, "client-b", uris=["spiffe://cluster.local/ns/other/sa/client-b"])
    leaf(directory, "client-expired", ca, "client", uris=["spiffe://cluster.local/ns/default/sa/client"], days=(-10, -2))
    leaf(directory, "client-other", other, "client", uris=["spiffe://cluster.local/ns/default/sa/client"])
    leaf(directory, "server-expired", ca, "a.example", names=["a.example"], days=(-10, -2))
    middle = authority(directory, "middle-ca", "Middle CA", ca)
    leaf(directory, "client-chain", middle, "client", uris=["spiffe://cluster.local/ns/default/sa/chained"], chain=[middle[0]])
    revoked, _ = leaf(directory, "client-revoked", ca, "client", uris=["spiffe://cluster.local/ns/default/sa/revoked"])
    crl = (
        x509.CertificateRevocationListBuilder().issuer_name(ca[0].subject).last_update(NOW - datetime.timedelta(days=1))
        .next_update(NOW + datetime.timedelta(days=20)).add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(revoked.serial_number).revocation_date(NOW).build())
        .sign(ca[1], hashes.SHA256()))
    (directory / "crl.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
