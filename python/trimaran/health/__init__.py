"""Who is well: rise/fall logic (pure) and one probe per module (async)."""
