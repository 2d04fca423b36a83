"""The command line as a module: ``python -m biasvar.cli``."""

from biasvar.cli.commands import main

if __name__ == "__main__":
    main()
