"""The error that is its reader's to mend."""


class InputError(ValueError):
    """A file, folder, table or value given from outside that cannot be used.

    The message is one line: what was found, what was expected, what to do. Any other ValueError is a bug.
    """
