"""The known layouts of labelled faces, one reader for each."""
