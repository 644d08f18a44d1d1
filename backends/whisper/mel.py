"""The log-mel spectrogram that Whisper hears, in numpy.

Whisper (Radford et al. 2022, §2.2): windows of 25 ms every 10 ms, 80 mel bands (128 from large-v3 on), log10
with a floor 8 below the loudest, scaled to about [-1, 1]. Mel scale and band areas: Slaney 1998 (Auditory
Toolbox), linear up to 1 kHz and logarithmic above.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from backends.whisper.window import RATE, Samples

SIZE, HOP = 400, 160  # samples of a Fourier window and between two of them
FRAMES_PER_SECOND = RATE // HOP
BLOCK = 256  # windows per transform: larger arrays leave the cache and take more than twice as long
FLOOR = -10.0  # log10 of the least energy that counts
LONGEST = 30 * FRAMES_PER_SECOND  # frames that the model was trained on

# Slaney's scale: 3 mels per 200 Hz up to 1 kHz, from there 27 mels per factor of 6.4.
LINEAR_HZ, BREAK_HZ, LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27


def log_mel(samples: Samples, frames: int, bands: int) -> NDArray[np.float32]:
    """float32 (bands, frames) of audio that is followed by silence up to `frames`, or cut there."""
    samples = samples[: frames * HOP]
    heard = min(
        frames, -(-len(samples) // HOP) + 2
    )  # frames that reach into the audio; the others are silent
    padded = np.zeros(heard * HOP + SIZE, np.float32)
    padded[SIZE // 2 : SIZE // 2 + len(samples)] = samples
    reflected = samples[1 : SIZE // 2 + 1][::-1]  # as torch's centred transform begins
    padded[SIZE // 2 - len(reflected) : SIZE // 2] = reflected
    windows = np.lib.stride_tricks.sliding_window_view(padded, SIZE)[: heard * HOP : HOP]
    energies = np.empty((heard, bands), np.float32)
    for start in range(0, heard, BLOCK):
        spectrum = np.fft.rfft(windows[start : start + BLOCK] * _hann())
        power = spectrum.real**2 + spectrum.imag**2
        np.matmul(power, filters(bands).T, out=energies[start : start + BLOCK])
    found = np.full((bands, frames), FLOOR, np.float32)
    found[:, :heard] = np.log10(np.maximum(energies, 10**FLOOR)).T
    np.maximum(found, found.max() - 8.0, out=found)
    found += 4.0
    found /= 4.0
    return found


@cache
def filters(bands: int) -> NDArray[np.float32]:
    """float32 (bands, 201): triangles of equal area, evenly spaced in mels from 0 Hz to 8 kHz."""
    edges = _to_hertz(np.linspace(0.0, _to_mels(RATE / 2), bands + 2))
    bins = np.fft.rfftfreq(SIZE, 1 / RATE)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


@cache
def _hann() -> NDArray[np.float32]:
    """The periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)).astype(np.float32)


def _to_mels(hertz: float) -> float:
    return float(BREAK_HZ / LINEAR_HZ + np.log(hertz / BREAK_HZ) / LOG_STEP)


def _to_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = mels - BREAK_HZ / LINEAR_HZ
    return np.where(above < 0, mels * LINEAR_HZ, BREAK_HZ * np.exp(LOG_STEP * above))
