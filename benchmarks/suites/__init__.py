"""What single parts cost: one file each, run by pytest-benchmark."""
