"""The one error of configuration: a person reads it and knows what to change."""


class ConfigurationError(Exception):
    """One line: where it is wrong (file or variable), which key, what is wrong, and the remedy."""
