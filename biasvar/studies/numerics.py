"""The number of the arithmetic by which blocks are made."""

#: Raise it by one whenever the bits of any block of any kind of study change: a mended kernel, another order of sums, a
#: new layout of draws. A store keeps the number that it was made with and is never given blocks of another, which would
#: mix in silence with its own. Stores without a number were made by 1. What is made of blocks, the summary, is made
#: anew by each run, so that its arithmetic does not count; nor does a user's code, which a study's fingerprints name.
NUMERICS = 3
