"""python -m capture.train --text FILE… --minutes 30 | --steps 500 --out DIR"""

from capture.__main__ import start

if __name__ == "__main__":
    start("capture.train.command")
