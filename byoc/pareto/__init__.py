"""The frontier of memory and accuracy of a language model, over how its cache and its weights are kept.

After KV Pareto (arXiv 2512.01953), but measured on the artifact that will be deployed.
"""
