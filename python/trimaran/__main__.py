"""`python -m trimaran`: the same as the `trimaran` command."""

from trimaran.cli.main import main

main()
