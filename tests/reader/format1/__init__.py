"""A reader of the repository format, version 1, made from chunkstore/FORMAT.md alone; "§" is a section there."""
