"""Pure detection: from a tree of files to projects with commands. No I/O but through :class:`.tree.FileTree`."""
