"""High and low water by the two largest constituents of the tide."""

import math

# Amplitude in metres, period in hours, phase in radians.
CONSTITUENTS = {"M2": (1.32, 12.4206, 0.4), "S2": (0.44, 12.0, 1.1)}


def height(hours):
    """Height above mean sea level, so many hours after the epoch of the table."""
    return sum(amplitude * math.cos(2 * math.pi * hours / period - phase)
               for amplitude, period, phase in CONSTITUENTS.values())


def extremes(start, hours, step=0.05):
    """High and low waters as (hour, height), found on a grid of `step` hours."""
    found = []
    at = start
    while at < start + hours:
        before, here, after = height(at - step), height(at), height(at + step)
        if (here - before) * (after - here) <= 0 and before != here:
            found.append((round(at, 2), round(here, 2)))
        at += step
    return found
