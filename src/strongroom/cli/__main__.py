"""`python -m strongroom.cli`: the same as the `strongroom` script, for where only the interpreter is known."""

from __future__ import annotations

from strongroom.cli.main import main

if __name__ == "__main__":
    main()
