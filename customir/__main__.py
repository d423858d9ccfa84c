"""`python -m customir`, as torchrun wants it."""

from customir.cli import main

main()
