"""Runs the embedded services of a home until its input ends: `run_services.py HOME [UID]`.

Prints their URLs and processes as one line of JSON, or an error's message and class. With a UID it becomes
that account once everything is imported, since the account may not reach the interpreter's library.
"""

import json
import os
import sys
from pathlib import Path

from configs import logging
from configs.settings import Settings
from store.embedded.errors import ServiceError
from store.embedded.services import EmbeddedServices

for uid in map(int, sys.argv[2:]):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
logging.configure(Settings())
services = EmbeddedServices(Path(sys.argv[1]), durable=False)
try:
    urls = services.start()
except ServiceError as error:
    answer: dict[str, object] = {"error": str(error), "kind": type(error).__name__}
else:
    answer = {**urls._asdict(), "pids": list(services.pids().values())}
sys.stdout.write(json.dumps(answer) + "\n")
sys.stdout.flush()
sys.stdin.read()
services.stop()
