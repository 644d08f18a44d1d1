"""Write tests/data/whisper/mel.npz: the log-mel of a clip, and its bands, as faster-whisper computes them."""

from pathlib import Path

import numpy as np
from faster_whisper import decode_audio
from faster_whisper.feature_extractor import FeatureExtractor

ROOT = Path(__file__).parents[2]
CLIP = "1688-142285-0005.flac"
EVERY = 11  # frames of which one is kept

samples = decode_audio(str(ROOT / "cli" / "clips" / CLIP))
frames = FeatureExtractor()(np.pad(samples, (0, 30 * 16_000 - len(samples))), padding=0)[:, :3000]
np.savez_compressed(
    ROOT / "tests" / "data" / "whisper" / "mel.npz",
    clip=np.array(CLIP),
    frames=frames[:, ::EVERY].astype(np.float32),
    filters=FeatureExtractor(feature_size=128).mel_filters,
)
