"""Errors that a command raises itself."""


class CommandFailed(Exception):
    """What was asked for could not be done; the message says why and what to do about it."""
