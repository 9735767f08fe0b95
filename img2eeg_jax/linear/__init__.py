"""Linear encoders: responses as a linear map of any network's features."""
