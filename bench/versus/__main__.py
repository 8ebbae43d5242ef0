"""`python -m bench.versus`."""

from bench.versus.command import main

if __name__ == "__main__":
    main()
