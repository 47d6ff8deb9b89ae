"""What each stage reads, depends on and leaves in the cache; the stages' work lies in `stages`.

The work is imported when a stage runs: whether a stage is current is known without torch.
"""
