"""Runs a deliverer until it is told to stop, with a short lease: what a killed one held is soon due again.

Arguments: database URL, Redis URL, home, lease in seconds.
"""

import asyncio
import signal
import sys
from pathlib import Path

from configs.settings import Settings
from tasks.deliver import Deliverer

database_url, redis_url, home, lease = sys.argv[1:]
settings = Settings(
    home=Path(home), database_url=database_url, redis_url=redis_url, webhook_allow="127.0.0.0/8"
)


async def deliver() -> None:
    deliverer = Deliverer(settings, lease_seconds=float(lease))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, deliverer.stop)
    await deliverer.run()


asyncio.run(deliver())
