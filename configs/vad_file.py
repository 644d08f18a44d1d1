"""The voice activity detector that comes with every model of the whisper family.

Silero VAD 6.2 (MIT), for 16 kHz, from its own wheel: the form that takes a whole recording in one call. The
wheel's safetensors file is no substitute: it holds the weights of another version.
"""

from configs.models import ModelFile

VAD_FILE = ModelFile(
    path="silero_vad.onnx",
    source="pypi:silero-vad==6.2.3#silero_vad/data/silero_vad_16k_sequence.onnx",
    sha256="9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    size_bytes=1_246_165,
)
