"""The one error of configuration: a person reads it and knows what to change."""


class ConfigurationError(Exception):
    """One line: where it is wrong (file or variable), which key, what is wrong, and the remedy.

    `section` is the place in the guide that says more (config/guide.py).
    """

    usual_section = "configuration"

    def __init__(self, said: str, *, section: str | None = None) -> None:
        super().__init__(said)
        self.section = section or self.usual_section
