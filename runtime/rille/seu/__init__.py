"""What flipped bits do to a network, measured: silent wrong answers, and who notices."""
