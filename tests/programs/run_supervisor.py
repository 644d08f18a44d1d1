"""Supervises children in a home: `run_supervisor.py HOME STOP_SECONDS CHILD…`, a child as `name=command`.

Prints one line of JSON per event: {"pids": …} of Postgres and Redis, {"ready": true} when the file HOME/ready
is there, {"tidied": true} after a death, {"refused": …} or {"stopped": true} at the end.
"""

import json
import os
import sys
from pathlib import Path

from configs import logging
from configs.settings import Settings
from store.embedded.services import EmbeddedServices
from tasks.children import ChildSpec
from tasks.refusals import StartRefused
from tasks.signal_watch import SignalWatch, Stopped
from tasks.supervisor import Supervisor


def say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


home = Path(sys.argv[1])
commands = dict(argument.split("=", 1) for argument in sys.argv[3:])
logging.configure(Settings())
services = EmbeddedServices(home, durable=False)
with SignalWatch() as watch:
    try:
        with watch.interrupting():
            services.start()
        say(pids=services.pids())
        Supervisor(
            [ChildSpec(name=name, argv=("sh", "-c", command)) for name, command in commands.items()],
            env={**os.environ, "HOME_FOLDER": str(home)},
            services=services,
            watch=watch,
            ready=(home / "ready").exists,
            announce=lambda: say(ready=True),
            tidy=lambda: say(tidied=True),
            stop_seconds=float(sys.argv[2]),
        ).run()
        say(stopped=True)
    except StartRefused as error:
        say(refused=str(error))
    except Stopped:
        say(stopped=True)
    finally:
        services.stop()
