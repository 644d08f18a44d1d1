"""The fast runtime of the whisper family: folders of CTranslate2, encoded by OpenVINO."""

from pathlib import Path

from backends.whisper.alignment import Aligner, alignment_heads
from backends.whisper.backend import WhisperBackend
from backends.whisper.ct2_decoder import Decoder, open_model
from backends.whisper.ct2_recognizer import CTranslate2Recognizer
from backends.whisper.encoder import open_encoder
from backends.whisper.greedy_decoder import GreedyDecoder
from backends.whisper.tokens import Vocabulary
from backends.whisper.weights import Weights
from configs.models import ModelSpec


class CTranslate2Backend(WhisperBackend):
    """Options of the spec: `precision`, `compute_type`, `beam_size`."""

    runtime = "ctranslate2"

    @classmethod
    def open_recognizer(cls, spec: ModelSpec, folder: Path, threads: int) -> CTranslate2Recognizer:
        """See `WhisperBackend`."""
        weights, vocabulary = Weights.read(folder), Vocabulary.read(folder)
        compute_type, beam_size = (
            spec.options.get("compute_type") or "int8",
            spec.options.get("beam_size") or 1,
        )
        model = open_model(folder, threads, compute_type)
        encoder = open_encoder(spec, weights, model, folder, threads)
        decoder = Decoder(model, beam_size)
        heads = alignment_heads(folder, weights.shape)
        ours = compute_type == "int8" and beam_size == 1
        greedy = GreedyDecoder.load(weights, vocabulary, heads, folder, threads) if ours else None
        aligner = Aligner.load(weights, vocabulary.end, folder, threads)
        return CTranslate2Recognizer(weights, vocabulary, encoder, decoder, greedy, aligner)
