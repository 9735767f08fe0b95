"""Images and EEG of a data set, ready to be read at random."""
