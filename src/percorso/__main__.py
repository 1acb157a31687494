"""`python -m percorso` is `percorso`."""

from percorso.cli import main

main()
