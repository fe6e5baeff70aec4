"""`python -m videogen_pipelines` is the `videogen` program."""

from __future__ import annotations

from videogen_pipelines.cli.app import main

if __name__ == "__main__":
    main()
