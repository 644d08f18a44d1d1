"""The command line `batchyard`, whose slots run engines that count what they compute: `run_counting.py up …`.

See `tests/backends/counting_engine.py`. Children that `up` starts are this program too.
"""

import sys

from cli.main import main
from tasks import launch, startup
from tests.backends.counting_engine import CountingEngine

startup.BATCHYARD = (sys.executable, "-P", __file__)
launch.Engine = CountingEngine  # type: ignore[misc]
main()
