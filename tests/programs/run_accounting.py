"""The command line `batchyard`, whose slots run engines that keep an account of the recordings that they
hear: `run_accounting.py worker …`. See `tests/backends/accounting_engine.py`.
"""

from cli.main import main
from tasks import launch
from tests.backends.accounting_engine import AccountingEngine

launch.Engine = AccountingEngine  # type: ignore[misc]
main()
