"""Where bundles are installed: two slots, which of them flies, and whether it has proven itself.

A *site* is a folder with the slots `a` and `b`, each a bundle's folder, and the file `slots.json`.
Nothing here needs NumPy: a supervisor, which has to stay small, keeps the table too.
"""
