"""The voice activity detector that comes with every model of the whisper family.

Silero VAD v6 (MIT), the weights of its 16 kHz half, from its own wheel.
"""

from configs.models import ModelFile

VAD_FILE = ModelFile(
    path="silero_vad.safetensors",
    source="pypi:silero-vad==6.2.3#silero_vad/data/silero_vad_16k.safetensors",
    sha256="c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
    size_bytes=1_239_748,
)
