"""``onyxrank bench``."""
def command() -> None:
    """tmp."""
