"""Arguments to one function per verb; printing and exit codes only here."""
