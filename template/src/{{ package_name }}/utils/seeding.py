"""One seed for the project, a stream of its own for everything that draws."""

import zlib

import numpy as np


def seed_for(name: str, seed: int) -> int:
    """Return the seed of the stream called `name`, an integer below 2**31.

    Streams of different names are independent of each other (NumPy's `SeedSequence`), so a new
    one never changes what the others draw.
    """
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1)[0] >> 1)
