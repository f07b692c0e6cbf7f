"""Networks to take away: a trained network in a form that other programs run, with a card that says what it is."""
