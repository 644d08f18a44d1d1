"""Writes what pywhispercpp, called directly, hears in each clip of the demo: as it comes, whisper.cpp's own
windows of 30 seconds. A minute or more, which is why its texts are kept. See README.md."""

import sys
from pathlib import Path

from pywhispercpp.model import Model

from tests.fixtures.recordings import read
from tests.fixtures.speech import clips

TEXTS = Path(__file__).parents[1] / "data" / "whisper" / "whisper_cpp.tsv"


def main() -> None:
    model = Model(sys.argv[1], n_threads=1, print_progress=False, print_realtime=False)
    rows = []
    for path in clips():
        segments = model.transcribe(read(path))
        text = " ".join(segment.text.strip() for segment in segments)
        rows.append(f"{path.name}\t{text}\n")
    TEXTS.write_text("".join(rows))


if __name__ == "__main__":
    main()
