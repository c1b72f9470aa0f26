"""HTTP/1.1 for one small server: a parser's callbacks in, one answer a request out."""
