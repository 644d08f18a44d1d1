"""Why a service, or a part of it, does not start. Each message says what to do.

StartRefused               not here and now: a port that is taken, too little memory
└── ArgumentRefused        never like this: a setting or option at fault
    └── PlanRefused        slots, cores or families that cannot be (`tasks/slots.py`)
"""


class StartRefused(Exception):
    """The service cannot start like this; the message says what to do."""


class ArgumentRefused(StartRefused):
    """A setting or an option has a value with which it can never start on this machine."""


class PlanRefused(ArgumentRefused):
    """A slot plan that cannot be carried out here; the message has the numbers and what to do."""
