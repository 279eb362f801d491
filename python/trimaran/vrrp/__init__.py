"""Who is master: advert codec and virtual-router machine. Pure: bytes and `now` in, effects out."""
