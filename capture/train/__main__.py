"""Entry of ``python -m capture.train``."""

from capture.command_line import start


def main() -> None:
    """Run the command; what it needs is loaded only now."""
    start("capture.train.command")


if __name__ == "__main__":
    main()
