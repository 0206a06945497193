"""``python -m onyxrank``: the command line."""

from onyxrank.cli import main

if __name__ == "__main__":
    main()
