"""How figures are drawn: colours and lines, and values on the scalp."""
