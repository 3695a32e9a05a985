"""The public face: what `import dp` shows, in a call each."""
