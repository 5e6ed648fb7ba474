"""Writes master and wrapped.hex with Python's cryptography, as an independent
implementation of what package kms promises. Run: python3 make.py"""
import hashlib
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

master = bytes(range(0x40, 0x60))
kid = "00112233445566778899aabbccddeeff"
content_key = bytes.fromhex("0f1e2d3c4b5a69788796a5b4c3d2e1f0")
nonce = bytes(range(0xA0, 0xAC))


def derive(label):
    return HKDF(hashes.SHA256(), 32, None, label).derive(master)


kek = "local:" + hashlib.sha256(derive(b"rekey kms/local v1 kek id")).hexdigest()[:8]
context = (
    f"format=local/1\nkek={kek}\nkid={kid}\npurpose=rekey content key\n".encode()
)
sealed = AESGCM(derive(b"rekey kms/local v1 wrap key")).encrypt(
    nonce, content_key, context
)
with open("master", "w") as f:
    f.write(f"rekey-master-key-v1 {kek} {master.hex()}\n")
with open("wrapped.hex", "w") as f:
    f.write((b"\x01" + nonce + sealed).hex() + "\n")
