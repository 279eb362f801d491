"""Why this machine cannot do what was asked; `trimaran` exits 2 on it, with one sentence."""


class CannotRunError(Exception):
    """`sentence` says what is missing, `mend` how to mend it ('' when the sentence says it)."""

    def __init__(self, sentence: str, mend: str = "") -> None:
        super().__init__(f"{sentence}; {mend}" if mend else sentence)
        self.sentence = sentence
        self.mend = mend
