"""The stages of the way, one file each: what decides its result, and what it does."""
