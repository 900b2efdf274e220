"""From a trained Keras network to a bundle: quantise, convert, check, write."""
