"""Stored messages of a stopped nats-server become older: no clock of the broker can be set from outside.

A block (`<n>.blk`) is records of: length (4 bytes, little endian, top bit: has headers), sequence (8), time (8, nanoseconds), length of
the subject (2), subject, [length of the headers (4), headers], body, checksum (8). The checksum is HighwayHash-64 under the SHA-256
of `<stream>-<n>`, over sequence, time, subject, headers and body. `index.db` is made anew where it is missing.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

from support import NatsServer

_HEAD = struct.Struct("<IQQH")
_SUM = struct.Struct("<Q")
#: Sequences of records that are no messages: erased, or a tombstone.
_NO_MESSAGE = 0b11 << 62
_MASK = (1 << 64) - 1
_LOW = (1 << 32) - 1
_MUL0 = (0xDBE6D5D5FE4CCE2F, 0xA4093822299F31D0, 0x13198A2E03707344, 0x243F6A8885A308D3)
_MUL1 = (0x3BD39E10CB0EF593, 0xC0ACF169B5F18A8C, 0xBE5466CF34E90C6C, 0x452821E638D01377)
#: Bytes of two neighbouring lanes (the first lane's are 0 to 7), as they are mixed into the first and the second.
_ZIPPER = ((3, 12, 2, 5, 14, 1, 15, 0), (11, 4, 10, 13, 9, 6, 8, 7))


def backdate(server: NatsServer, stream: str, sequences: range, seconds: float) -> None:
    """Messages of `sequences` were stored `seconds` earlier than they were. The server must be stopped."""
    assert server.process is None, "stop it first"
    (folder,) = server.store.glob(f"jetstream/*/streams/{stream}/msgs")
    changed = 0
    for path in folder.glob("*.blk"):
        block = bytearray(path.read_bytes())
        at = 0
        while at < len(block):
            length, seq, time, subject = _HEAD.unpack_from(block, at)
            headers, length = bool(length >> 31), length & ~(1 << 31)
            if not seq & _NO_MESSAGE and seq in sequences:
                struct.pack_into("<Q", block, at + 12, time - int(seconds * 1e9))
                begin = at + _HEAD.size
                middle = begin + subject
                rest = middle + 4 * headers
                said = bytes(block[at + 4 : at + 20] + block[begin:middle] + block[rest : at + length - _SUM.size])
                _SUM.pack_into(block, at + length - _SUM.size, checksum(stream, path.stem, said))
                changed += 1
            at += length
        path.write_bytes(block)
    assert changed == len(sequences), f"{changed} of {len(sequences)} messages were found"
    (folder / "index.db").unlink(missing_ok=True)


def checksum(stream: str, block: str, said: bytes) -> int:
    """Of a record."""
    return highway_hash(hashlib.sha256(f"{stream}-{block}".encode()).digest(), said)


def highway_hash(key: bytes, data: bytes) -> int:
    """HighwayHash-64, from its specification."""
    state = _Highway(struct.unpack("<4Q", key))
    whole = len(data) & ~31
    for at in range(0, whole, 32):
        state.update(struct.unpack_from("<4Q", data, at))
    if whole < len(data):
        state.remainder(data[whole:])
    return state.finish()


class _Highway:
    def __init__(self, key: Sequence[int]) -> None:
        self.mul0, self.mul1 = list(_MUL0), list(_MUL1)
        self.v0 = [mul ^ lane for mul, lane in zip(_MUL0, key, strict=True)]
        self.v1 = [mul ^ _swapped(lane) for mul, lane in zip(_MUL1, key, strict=True)]

    def update(self, lanes: Sequence[int]) -> None:
        for i, lane in enumerate(lanes):
            self.v1[i] = (self.v1[i] + self.mul0[i] + lane) & _MASK
            self.mul0[i] ^= (self.v1[i] & _LOW) * (self.v0[i] >> 32)
            self.v0[i] = (self.v0[i] + self.mul1[i]) & _MASK
            self.mul1[i] ^= (self.v0[i] & _LOW) * (self.v1[i] >> 32)
        for to, of in ((self.v0, self.v1), (self.v1, self.v0)):
            for i in (0, 2):
                held = struct.pack("<2Q", of[i], of[i + 1])
                for j, zipper in enumerate(_ZIPPER):
                    to[i + j] = (to[i + j] + int.from_bytes(bytes(held[n] for n in zipper), "little")) & _MASK

    def remainder(self, rest: bytes) -> None:
        count = len(rest)
        self.v0 = [(lane + (count << 32) + count) & _MASK for lane in self.v0]
        self.v1 = [_rotated(lane >> 32, count) << 32 | _rotated(lane & _LOW, count) for lane in self.v1]
        whole, odd = count & ~3, count & 3
        packet = bytearray(rest[:whole].ljust(32, b"\0"))
        if count & 16:
            packet[28:32] = rest[count - 4 :]
        elif odd:
            packet[16:19] = bytes((rest[whole], rest[whole + (odd >> 1)], rest[whole + odd - 1]))
        self.update(struct.unpack("<4Q", packet))

    def finish(self) -> int:
        for _ in range(4):
            self.update([_swapped(self.v0[i]) for i in (2, 3, 0, 1)])
        return (self.v0[0] + self.v1[0] + self.mul0[0] + self.mul1[0]) & _MASK


def _swapped(lane: int) -> int:
    return (lane >> 32) | (lane & _LOW) << 32


def _rotated(half: int, by: int) -> int:
    return (half << by | half >> (32 - by)) & _LOW
