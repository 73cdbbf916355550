"""Entry of ``python -m capture.intervene``."""

from capture.command_line import start


def main() -> None:
    """Run the command; what it needs is loaded only now."""
    start("capture.intervene.command")


if __name__ == "__main__":
    main()
