"""python -m capture.intervene MODEL --layer 5 --do 12 --text FILE… --out DIR: do(state), and what follows."""

from capture.__main__ import start


def main() -> None:
    """Entry of ``python -m capture.intervene``."""
    start("capture.intervene.command")


if __name__ == "__main__":
    main()
