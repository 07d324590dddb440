"""MurmurHash2, 64 bits: the other function that a ring can place its endpoints with.

Source: Austin Appleby, MurmurHash64A, in the form of libstdc++'s `std::hash<std::string>`, which Envoy has taken over.
"""

STANDARD_SEED = 0xC70F6907
_MULTIPLIER = 0xC6A4A7935BD1E995
_MASK = (1 << 64) - 1


def murmur_hash_2(data: bytes, seed: int = STANDARD_SEED) -> int:
    """Return the hash of `data`, of 64 bits."""
    whole = len(data) & ~7
    value = seed ^ (len(data) * _MULTIPLIER & _MASK)
    for start in range(0, whole, 8):
        word = int.from_bytes(data[start : start + 8], "little") * _MULTIPLIER & _MASK
        word = (word ^ (word >> 47)) * _MULTIPLIER & _MASK
        value = (value ^ word) * _MULTIPLIER & _MASK
    if len(data) > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    value = (value ^ (value >> 47)) * _MULTIPLIER & _MASK
    return value ^ (value >> 47)
