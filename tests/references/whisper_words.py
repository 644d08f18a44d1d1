"""Writes when each word of the demo's clips is spoken: a forced alignment by pocketsphinx. See README.md."""

import csv
from pathlib import Path

import av
import numpy as np
from pocketsphinx import Decoder

CLIPS = Path("cli/clips")
TARGET = Path("tests/data/whisper/words.tsv")
FRAME_MS = 10
# Words that its dictionary lacks, in its own phones.
PHONES = {
    "churchyards": "CH ER CH Y AA R D Z",
    "darkand": "D AA R K AE N D",
    "helstone": "HH EH L S T OW N",
    "makan": "M AA K AA N",
    "palings": "P EY L IH NG Z",
    "quickeneth": "K W IH K AH N AH TH",
    "reciter": "R IH S AY T ER",
    "seest": "S IY S T",
    "sherburn's": "SH ER B ER N Z",
    "shoppy": "SH AA P IY",
    "wot": "W AA T",
    "zau": "Z AW",
}


def main() -> None:
    decoder = Decoder(lm=None, loglevel="FATAL")
    for word, phones in PHONES.items():
        decoder.add_word(word, phones, True)
    with (CLIPS / "references.tsv").open() as references, TARGET.open("w") as target:
        for name, _, text in csv.reader(references, delimiter="\t"):
            for word, start, end in aligned(decoder, CLIPS / f"{name}.flac", text):
                print(name, start, end, word, sep="\t", file=target)


def aligned(decoder: Decoder, path: Path, text: str) -> list[tuple[str, int, int]]:
    """Words with start and end in milliseconds."""
    decoder.set_align_text(text)
    decoder.start_utt()
    decoder.process_raw(samples(path), full_utt=True)
    decoder.end_utt()
    rows = [row for row in decoder.seg() if not row.word.startswith("<")]
    # a second pronunciation has its number behind it
    words = [(row.word.split("(")[0], row.start_frame, row.end_frame + 1) for row in rows]
    assert " ".join(word for word, _, _ in words) == text, path
    return [(word, start * FRAME_MS, end * FRAME_MS) for word, start, end in words]


def samples(path: Path) -> bytes:
    """16-bit samples; the clips have one channel of 16 kHz."""
    with av.open(path) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).tobytes()


if __name__ == "__main__":
    main()
