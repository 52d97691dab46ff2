"""What TVM compiles: everything that no partition took."""
