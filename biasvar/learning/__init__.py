"""Laws of data, hypothesis sets and the decomposition of their error: arrays in, arrays out."""
