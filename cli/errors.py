"""Errors that a command raises itself."""


class CommandFailed(Exception):
    """What was asked for could not be done; the message says why and what to do about it."""


class WrongSetting(Exception):
    """A variable, or the option over it, that is not valid or is missing; the message names it."""
