"""Pure logic that every runtime shares: strings, files and numbers. Imports no pulumi and does no I/O."""
