"""Pages: what a store holds as one file of HTML, for people without biasvar and without a network."""
