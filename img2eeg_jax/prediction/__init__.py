"""Networks at work: images in, predicted EEG out."""
