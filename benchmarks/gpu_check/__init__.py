"""What a GPU computes of this project, and how fast (docs/gpu_check.md): a program of its own, `python -m`."""
