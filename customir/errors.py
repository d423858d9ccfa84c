"""The exception for mistakes that the user can correct."""


class UserError(Exception):
    """A mistake in the input, the settings or the machine that the user can correct.

    The message names the file, line or document concerned, what was wrong, and what to do.
    The CLI prints it without a traceback and exits with status 2.
    """
