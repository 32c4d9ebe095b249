#!/usr/bin/env python3
"""seal_vectors.py - the wire format of a sealed message once more, in another language.

Nothing but the hash is shared with the product: AES and GCM are written out from FIPS 197 and
NIST SP 800-38D and held against the latter's examples first. Prints the envelopes that
message_seal_test.c expects.
usage: seal_vectors.py [--check FILE]   exit 1 if a line that it prints is not in FILE
"""
import hashlib
import hmac
import struct
import sys


def sbox_make():
    box, p, q = [0] * 256, 1, 1
    while True:
        p = p ^ (p << 1) & 0xFF ^ (0x1B if p & 0x80 else 0)
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        q ^= 0x09 if q & 0x80 else 0
        turned = [(q << n | q >> (8 - n)) & 0xFF for n in range(5)]
        box[p] = turned[0] ^ turned[1] ^ turned[2] ^ turned[3] ^ turned[4] ^ 0x63
        if p == 1:
            box[0] = 0x63
            return box


SBOX = sbox_make()


def double(x):
    return (x << 1 & 0xFF) ^ (0x1B if x & 0x80 else 0)


def round_keys(key):
    words = [list(key[i:i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = list(words[i - 1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = double(rcon)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i:i + 4], []) for i in range(0, 60, 4)]


def aes256(keys, block):
    state = [a ^ b for a, b in zip(block, keys[0])]
    for number in range(1, 15):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number < 14:
            mixed = []
            for c in range(0, 16, 4):
                a = state[c:c + 4]
                for i in range(4):
                    mixed.append(double(a[i]) ^ double(a[(i + 1) % 4]) ^ a[(i + 1) % 4]
                                 ^ a[(i + 2) % 4] ^ a[(i + 3) % 4])
            state = mixed
        state = [a ^ b for a, b in zip(state, keys[number])]
    return bytes(state)


def times(x, y):
    z = 0
    for i in range(127, -1, -1):
        if x >> i & 1:
            z ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return z


def padded(data):
    return data + bytes(-len(data) % 16)


def gcm(key, nonce, bound, text):
    keys = round_keys(key)
    h = int.from_bytes(aes256(keys, bytes(16)), "big")
    cipher = b""
    for at in range(0, len(text), 16):
        pad = aes256(keys, nonce + struct.pack(">I", 2 + at // 16))
        cipher += bytes(a ^ b for a, b in zip(text[at:at + 16], pad))
    lengths = struct.pack(">QQ", 8 * len(bound), 8 * len(cipher))
    y = 0
    blocks = padded(bound) + padded(cipher) + lengths
    for at in range(0, len(blocks), 16):
        y = times(y ^ int.from_bytes(blocks[at:at + 16], "big"), h)
    first = int.from_bytes(aes256(keys, nonce + struct.pack(">I", 1)), "big")
    return cipher + (y ^ first).to_bytes(16, "big")


def gcm_must_be_right():
    """Test cases 13, 14 and 16 of the GCM specification."""
    zeros = gcm(bytes(32), bytes(12), b"", b"")
    assert zeros.hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    one = gcm(bytes(32), bytes(12), b"", bytes(16))
    assert one.hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    text = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
    full = gcm(bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2),
               bytes.fromhex("cafebabefacedbaddecaf888"),
               bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"), text)
    assert full[-16:].hex() == "76fc6ece0f4e1768cddf8853bb2d551b"


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def short(text):
    return bytes([len(text)]) + text.encode()


def seal(key, direction, crossing, m):
    key_id = mac(key, b"sallyport seal key id v1" + b"\1")[:8]
    sender = mac(key, b"sallyport seal sender v1" + bytes([direction]) + short(crossing)
                 + short(m["user_id"]) + b"\1")
    correlation = m.get("correlation")
    turn, prev = m.get("turn"), m.get("prev")
    flags = (correlation is not None) | 2 * (turn is not None) | 4 * (prev is not None)
    bound = bytes([1, direction]) + key_id + bytes([m.get("content", 0), flags])
    bound += m["id"] + (correlation or bytes(16))
    for name in "time_left_ms", "expires_unix_ms", "sent_unix_us", "epoch", "seq", "attempt":
        bound += struct.pack(">Q", m.get(name, 0))
    bound += short(crossing) + short(m["user_id"])
    for name in "type", "key", "contract", "traceparent":
        bound += short(m.get(name, ""))
    bound += struct.pack(">Q", turn) if turn else b""
    bound += prev or b""
    nonce = mac(sender, b"\1" + bound + m["body"])[:12]
    return bytes([1]) + key_id + nonce + gcm(mac(sender, b"\2" + m["id"] + nonce), nonce, bound,
                                             m["body"])


def vectors():
    key = bytes(range(32))
    request = bytes.fromhex("0190a1b2c3d47e5f8a6b0123456789ab")
    reply = bytes.fromhex("0190a1b2c3d57e5f8a6bba9876543210")
    yield seal(key, 0, "web1", {
        "user_id": "web.web1.g1", "id": request, "type": "quote.price", "time_left_ms": 250,
        "sent_unix_us": 1780000000000000, "epoch": 4611686018427387903, "seq": 1,
        "body": b'{"sku":"A-1","quantity":2}'})
    yield seal(key, 1, "web1", {
        "user_id": "app.app1.g2", "id": reply, "correlation": request, "content": 1,
        "type": "quote.price", "time_left_ms": 201, "sent_unix_us": 1780000000050000,
        "epoch": 77, "seq": 1 << 40, "traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01",
        "body": b'{"type":"urn:sallyport:problem:no"}'})
    yield seal(bytes(range(64, 96)), 2, "", {
        "user_id": "app.app1.g2", "id": request, "type": "order.place",
        "expires_unix_ms": 1780000259200, "sent_unix_us": 1780000000000001, "epoch": 77,
        "seq": 3, "attempt": 2, "key": "c-1", "contract": "9f" * 32, "body": b""})
    yield seal(key, 0, "web1", {
        "user_id": "web.web1.g1", "id": reply, "type": "order.place", "key": "c-1",
        "expires_unix_ms": 1780000259200, "sent_unix_us": 1780000000000002, "epoch": 77,
        "seq": 4, "turn": 9, "prev": request, "body": b"{}"})


def main():
    gcm_must_be_right()
    lines = [envelope.hex() for envelope in vectors()]
    if sys.argv[1:2] != ["--check"]:
        print("\n".join(lines))
        return 0
    with open(sys.argv[2], encoding="utf-8") as file:
        known = "".join(file.read().replace('"', "").split())
    missing = [line for line in lines if line not in known]
    for line in missing:
        print(f"{sys.argv[2]}: does not have {line}", file=sys.stderr)
    return 1 if missing else 0


sys.exit(main())
