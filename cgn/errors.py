"""The error that is its reader's to mend."""


class InputError(ValueError):
    """A file, folder, table or value given from outside that cannot be used.

    The message says what was found, what was expected and what to do. Any other ValueError is a bug.
    """


def one_line(message: object) -> str:
    """A message, or an error's, as one line, whatever libraries put into it."""
    return " ".join(str(message).split())
