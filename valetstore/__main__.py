"""`python -m valetstore` is the command `valetstore`."""

from valetstore.cli.main import main

main()
