"""Writes the backups, the holders' keys and expected.json with Python's
cryptography, as an independent implementation of what doc.go says. Everything that
is random elsewhere is fixed here. Run: python3 make.py"""
import base64
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
THRESHOLD = 2
NAMES = ["test-only anna", "test-only björn", "test-only 千"]


def number(label):
    """A scalar from a label: for tests only."""
    return int.from_bytes(hashlib.sha512(label.encode()).digest(), "big") % ORDER


def nonce(label):
    return hashlib.sha256(label.encode()).digest()[:12]


def private(scalar):
    return ec.derive_private_key(scalar, ec.SECP256R1())


def point(key, form=serialization.PublicFormat.UncompressedPoint):
    return key.public_key().public_bytes(serialization.Encoding.X962, form)


def fingerprint(key):
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


# HPKE, base mode: RFC 9180 sections 4.1 and 5.1, KEM 0x0010, KDF 1, AEAD 0xFFFF:
# export only (section 5.3), and AES-256-GCM under what is exported.
def extract(suite, salt, label, ikm):
    return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256").digest()


def expand(suite, prk, label, info, size):
    info = struct.pack(">H", size) + b"HPKE-v1" + suite + label + info
    return HKDFExpand(hashes.SHA256(), size, info).derive(prk)


def hpke_seal(recipient, ephemeral, info, label, plain):
    kem, suite = b"KEM\x00\x10", b"HPKE\x00\x10\x00\x01\xff\xff"
    enc = point(ephemeral)
    dh = ephemeral.exchange(ec.ECDH(), recipient.public_key())
    shared = expand(
        kem, extract(kem, b"", b"eae_prk", dh), b"shared_secret", enc + point(recipient), 32
    )
    context = b"\x00" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, shared, b"secret", b"")
    exporter = expand(suite, secret, b"exp", context, 32)
    key = expand(suite, exporter, b"sec", b"rekey backup v2 share", 32)
    return enc + seal(key, label, plain, b"")


def seal(key, label, plain, aad):
    n = nonce(label)
    return n + AESGCM(key).encrypt(n, plain, aad)


def line(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def b64(b):
    return base64.b64encode(b).decode()


coefficients = [number(f"coefficient {i}") for i in range(THRESHOLD)]
holders = [private(number(f"holder {i + 1}")) for i in range(len(NAMES))]
manifest = line(
    {
        "id": hashlib.sha256(b"id").hexdigest()[:32],
        "created": "2026-01-02T03:04:05Z",
        "tool": "make.py",
        "source": "testdata",
        "comment": "a backup that must open for ever",
        "threshold": THRESHOLD,
        "holders": [
            {"name": n, "key": fingerprint(k)} for n, k in zip(NAMES, holders)
        ],
        "commitments": [
            b64(point(private(c), serialization.PublicFormat.CompressedPoint))
            for c in coefficients
        ],
        "factor": {"algorithm": "SHA256", "digits": 8, "period": 30},
    }
)
digest = hashlib.sha256(manifest[:-1])
master = coefficients[0].to_bytes(32, "big")


def derive(salt, label):
    return HKDF(hashes.SHA256(), 32, salt, label).derive(master)


header = b"rekey-backup-v2\n" + manifest
for i, (name, holder) in enumerate(zip(NAMES, holders), 1):
    value = sum(c * pow(i, e, ORDER) for e, c in enumerate(coefficients)) % ORDER
    info = f"rekey backup v2 share\n{digest.hexdigest()}\n{i}\n{fingerprint(holder)}"
    sealed = hpke_seal(
        holder, private(number(f"ephemeral {i}")), info.encode(), f"share {i}", value.to_bytes(32, "big")
    )
    header += line(
        {
            "format": "rekey-backup-share-v2",
            "backup": digest.hexdigest(),
            "number": i,
            "holder": name,
            "recipient": fingerprint(holder),
            "sealed": b64(sealed),
        }
    )
# The secret of RFC 6238 appendix B, so that its codes are the RFC's.
totp = b"12345678901234567890123456789012"
factor = seal(derive(digest.digest(), b"rekey backup v2 factor"), "factor", totp, b"")
header += line({"sealed_factor": b64(factor)})

entries = []
for i in range(200):
    kid = f"{i + 1:032x}"
    key = hashlib.sha256(f"key {i}".encode()).hexdigest()[:32]
    record = {"kid": kid, "state": "active", "note": "ü" * (i * 4)}
    if i % 10 == 3:
        key, record["state"] = "", "destroyed"
    entries.append((kid, key, line(record)[:-1]))
for i in range(3):
    entries.append((f"{i + 1:032x}", f"{i + 0xA0:02x}" * 16, b"null"))

chunk_key = derive(hashlib.sha256(header).digest(), b"rekey backup v2 chunks")


def write(name, entries):
    """Both files have one master, which package backup never does."""
    plain = b""
    for kid, key, record in entries:
        plain += (b"\x01" if key else b"\x02") + bytes.fromhex(kid + key)
        plain += struct.pack(">I", len(record)) + record
    destroyed = sum(1 for _, key, _ in entries if not key)
    plain += b"\x03" + struct.pack(">QQ", len(entries), destroyed)
    chunks = [plain[i : i + 65536] for i in range(0, len(plain), 65536)]
    with open(name, "wb") as f:
        f.write(header)
        for i, chunk in enumerate(chunks):
            aad = b"rekey backup v2 chunk" + struct.pack(">QB", i, i == len(chunks) - 1)
            f.write(seal(chunk_key, f"{name} chunk {i}", chunk, aad))


write("v2.backup", entries)
write("v2-small.backup", entries[:5])
for i, holder in enumerate(holders, 1):
    with open(f"test-only-holder-{i}.pem", "wb") as f:
        f.write(
            holder.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
with open("expected.json", "wb") as f:
    f.write(
        b'{"fingerprint":"' + digest.hexdigest().encode() + b'","entries":[\n'
        + b",\n".join(
            line({"kid": k, "key": v, "record_sha256": hashlib.sha256(r).hexdigest()})[:-1]
            for k, v, r in entries
        )
        + b"\n]}\n"
    )
