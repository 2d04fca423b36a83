"""The command line: run, plan, check, show, watch, verify and list studies.

Exit codes: 0 done; 1 verify found damage; 2 bad input, told in one line; 3 stopped, or the cluster or the machine
failed, and the same command goes on; 4 finished, but some cells failed; 70 a bug in biasvar.
"""

from biasvar.cli.commands import main

__all__ = ["main"]
