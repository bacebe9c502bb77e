"""Says, before the tests run, which real clients are missing and what to install; never fails by itself."""

from __future__ import annotations

from clients import PACKAGES, find


def main() -> None:
    """Print one line per missing Debian package."""
    missing: dict[str, list[str]] = {}
    for program, package in PACKAGES.items():
        if find(program) is None:
            missing.setdefault(package, []).append(program)
    for package, programs in missing.items():
        print(
            f"missing system package {package} ({', '.join(programs)}): the tests that need it are skipped; apt-get install {package}"
        )


if __name__ == "__main__":
    main()
