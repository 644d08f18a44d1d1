"""Where the detector's weights come from: told in configs, where a family's rules name it too."""

from configs.vad_file import VAD_FILE

__all__ = ["VAD_FILE"]
