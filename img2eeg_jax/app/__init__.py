"""The web page: pictures in, predicted EEG to look at, on the user's own computer."""
