"""Training of the networks that rille flies: recipes, models, losses, data pipelines.

Written against Keras 3 alone (`keras.ops`, NumPy input), so that the same code runs on its
TensorFlow, JAX and torch backends; the environment variable KERAS_BACKEND chooses.
"""
