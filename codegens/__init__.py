"""Codegens that ship with byoc.  They import only its public names, as a vendor's own would."""
