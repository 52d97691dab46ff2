"""How fast a language model reads and writes, beside llama.cpp: every engine in a process of its own, by turns."""
