"""`python -m customir.cli`."""

from customir.cli.main import main

main()
