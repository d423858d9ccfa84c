"""The one exception that means: the user can put this right."""


class UserError(Exception):
    """A mistake in the input, the settings or the machine that its user can mend.

    The message names the file, the line or the message concerned, what was wrong, and what to do.
    The CLI prints it without a traceback and exits with status 2.
    """
