"""`batchyard demo-speech`, as a newcomer runs it: real recordings through the whole service."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import srt

from cli.demo_speech import read_clips
from tests.cli.test_demo import processes_of

DEMO = (sys.executable, "-P", "-m", "cli.main", "demo-speech")


@pytest.mark.slow
def test_the_demo_transcribes_and_counts_its_errors(open_home: Path, whisper_folder: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--home", str(open_home / "demo")],
        env=os.environ | {"BATCHYARD_MODELS": str(whisper_folder.parent)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "a clip of 3 s is answered in" in done.stdout
    assert "29 clips, 161 s of speech, in" in done.stdout
    found = re.search(r"word error rate ([\d.]+) % \((\d+) of 381 words\)", done.stdout)
    assert found is not None
    assert float(found[1]) < 20  # pywhispercpp called directly: 12 to 14
    assert processes_of(open_home) == []
    folder = open_home / "demo" / "demo-speech"
    for clip in read_clips():
        heard = (folder / f"{clip.name}.txt").read_text()
        captions = list(srt.parse((folder / f"{clip.name}.srt").read_text()))
        assert " ".join(caption.content for caption in captions).split() == heard.split()
        assert captions[-1].end.total_seconds() <= clip.seconds + 0.1
